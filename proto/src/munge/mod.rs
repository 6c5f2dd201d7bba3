//! Calls that prove by MUNGE whose they are: for people on nodes that have a site's MUNGE key (as
//! every node under Slurm has) and no certificate.
//!
//! Each call carries a credential of its own, made by the caller's munged, which says who asked it
//! for one. In it stands what it is for: the method and a digest of the request's bytes. So who
//! sees a credential can use it for nothing else, and the controller's munged decodes none twice:
//! for the same call neither.
//!
//! | module | idea |
//! | --- | --- |
//! | `purpose` | what a credential is for |
//! | `sign` | the caller's side |
//! | `check` | the controller's side |
//! | `words` | what `unmunge` says |
//! | `program` | running `munge` and `unmunge` |

mod check;
mod program;
mod purpose;
mod sign;
mod words;

use std::time::Duration;

pub use check::{Checker, Claim};
pub use sign::{Link, Signer};

/// Where Debian's package puts `munge` and `unmunge`.
pub const FOLDER: &str = "/usr/bin";

/// How a call carries its credential, in its metadata.
const METADATA: &str = "rampool-munge";

/// How long a credential is good, in seconds: the time that a request takes, and what clocks may
/// differ.
const TTL_SECONDS: u32 = 60;

/// How long either program may take: munged answers in milliseconds, a busy one in some more.
const DEADLINE: Duration = Duration::from_secs(5);

/// The largest request that may be asked with a credential: host lists are the most of it.
const LARGEST_REQUEST: usize = 256 * 1024;

/// The longest credential taken: what it is for has fewer than 200 bytes, and MUNGE's own part is
/// about as long.
const LONGEST_CREDENTIAL: usize = 4096;
