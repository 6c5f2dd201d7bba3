//! What a person asks for: flags and pool files to one spec.
//!
//! | module | idea |
//! | --- | --- |
//! | [`wish`] | the fields, which are flags and the pool file's keys alike |
//! | [`choice`] | the words there are to choose among |
//! | [`spec`] | flags over file, and both to the wire's `PoolSpec` |
//! | [`caller`] | whose pool it will be |

pub mod caller;
pub mod choice;
pub mod spec;
pub mod wish;
