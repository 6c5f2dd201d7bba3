//! The forms for people: tables and short texts.
//!
//! | module | idea |
//! | --- | --- |
//! | [`look`] | how wide, coloured or not, and what time it is |
//! | [`plain`] | other programs' words made fit for a terminal |
//! | `table` | columns without rules, as `cut` and eyes like them |
//! | `amount` | percentages, durations |
//! | the others | one file for each thing that is shown |

pub(crate) mod amount;
mod events;
mod findings;
mod health;
mod holdings;
mod jobs;
pub mod look;
mod nodes;
mod outcome;
mod pki;
pub mod plain;
mod plan;
mod pools;
mod recover;
mod redundancy;
mod status;
mod table;
