//! What runs inside a node: its first process and its exec server.

pub mod config;
pub mod init;
mod program;
pub mod server;
pub mod systemd;
