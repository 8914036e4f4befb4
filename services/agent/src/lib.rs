//! A node: runs tasks, checks them, keeps their logs, takes them back after a restart
