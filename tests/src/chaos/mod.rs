//! The fault matrix: who is hit, when, and how; what the product promises for each cell; and a
//! runner that tries it on a cluster of real kernels.
//!
//! | module | idea |
//! | --- | --- |
//! | [`cell`] | the words of the matrix, and a cell's name |
//! | [`table`] | for each cell: what is promised, or why it makes no sense |
//! | [`stage`] | the cluster, the pool on it, and who plays which part |
//! | [`strike`] | what a fault does, and how it is healed |
//! | [`follow`] | `rampool` typed, with something done when it comes to a step |
//! | [`play`] | one cell, from the pool's making to the fault's healing |
//! | [`moving`] | a fault while a piece is moved |
//! | [`outlive`] | whole again, failed, or on another head |
//! | [`aftermath`] | everything given back, and compared with before |
//! | [`ledger`] | results, kept as they come and shown as a table |
//! | [`troupe`] | cells one after the other, on clusters that are used again |
//! | [`cycles`] | up, use, down, many times: no trend in free memory |

pub mod aftermath;
pub mod cell;
pub mod cycles;
pub mod follow;
pub mod ledger;
pub mod moving;
pub mod outlive;
pub mod play;
pub mod stage;
pub mod strike;
pub mod table;
pub mod troupe;
