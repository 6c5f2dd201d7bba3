//! rampool's controller: holds what is wanted (specs, placements, events), drives agents until
//! nodes hold just that, and tells people how far it is. It can be killed at any line: what it
//! was doing is in the store before it is done.
//!
//! | module | idea |
//! | --- | --- |
//! | [`config`], [`profile`] | `controller.yaml` |
//! | [`service`] | the gRPC face |
//! | [`audit`] | who asked for what |
//! | [`caller`], [`person`] | who asks, by whichever door |
//! | [`doors`] | where the controller listens |
//! | [`socket`] | operators without certificates, on the controller's host |
//! | [`users`] | people who may have pools of their own |
//! | [`spec`] | from what a person wrote to what is wanted; pure |
//! | [`planner`] | from what is wanted and what nodes have to what goes where; pure |
//! | [`pool`] | pools: the state machine, its driver, operations, status |
//! | [`nodes`] | one watch a node: who answers, and what they hold |
//! | [`agents`] | what can be asked of an agent |
//! | [`reconcile`] | what is wanted against what nodes hold |
//! | `repair` | pools in use that are not well |
//! | [`doctor`] | what is wrong on a node, and what mends it; pure |
//! | [`lease`] | when a pool expires; pure |
//! | [`version`] | which agents go with this controller; pure |
//! | [`pressure`] | donors that run out of memory; pure |
//! | [`reap`] | what nodes hold that nobody knows |
//! | [`recover`] | pools taken over from what nodes hold |
//! | [`jobs`] | pools of Slurm's jobs: what its hooks ask for |
//! | [`store`] | what must not be forgotten |
//! | [`readme`] | the text at a pool's root |
//! | [`serve`] | all of it together, until told to stop |

#![forbid(unsafe_code)]

pub mod agents;
pub mod audit;
pub mod caller;
mod clock;
pub mod config;
pub mod doctor;
pub mod doors;
pub mod jobs;
pub mod lease;
pub mod nodes;
pub mod person;
pub mod planner;
pub mod pool;
pub mod pressure;
pub mod profile;
pub mod readme;
pub mod reap;
pub mod reconcile;
pub mod recover;
mod repair;
pub mod serve;
pub mod service;
pub mod socket;
pub mod spec;
pub mod store;
pub mod users;
pub mod version;

#[cfg(test)]
mod tests;
