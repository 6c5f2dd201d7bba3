//! The command line against a controller that is faked (and called so): the real program, real
//! mutual TLS on loopback, no cluster.

// Clippy's own leave to unwrap in tests covers test functions, not what they call.
#![allow(clippy::unwrap_used)]

mod care;
mod cluster;
mod commands;
mod contract;
mod examples;
mod fake_agent;
mod fake_controller;
mod fake_jobs;
mod hooks;
mod hooks_of_nodes;
mod operations;
mod samples;
mod slurms_environment;
mod tables;
mod tls;
mod ways;
