//! The vocabulary: ids, resources, apps, tasks, nodes, deployments
