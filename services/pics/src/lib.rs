//! The article's web application: it signs, and stays out of the data path
