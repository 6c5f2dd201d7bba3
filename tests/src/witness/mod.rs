//! The metadata checker: makes files whose names and contents follow from a counter, forces each
//! to the pool (file and folder), and tells every acknowledgement on its standard output, which
//! is collected outside of the node. Afterwards the pool is compared with what was acknowledged.
//!
//! | module | idea |
//! | --- | --- |
//! | [`contents`] | what the file of a number is called and holds |
//! | [`log`] | the lines told, and what follows from them |
//! | [`folder`] | writing and comparing, on a mounted pool |

pub mod contents;
pub mod folder;
pub mod log;
