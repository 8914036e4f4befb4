//! Containers: docker and process, behind one trait
