//! The machine against the tests' model of nodes, by way of the very calls that it leads to.

mod schedules;
mod world;
