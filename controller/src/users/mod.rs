//! Users: people who may have pools of their own where controller.yaml allows it, and may see and
//! release what is theirs. Nothing else is theirs to ask.
//!
//! | module | idea |
//! | --- | --- |
//! | [`rules`] | who may have what: the configuration, and which of it is whose |
//! | [`quota`] | what a user, or an account, has, and whether one more pool fits. Pure |
//! | [`grant`] | from what a user asks for to what he may have, or why not. Pure |
//! | `desk` | whose each call is, by MUNGE |
//! | `service` | what a user may ask, call by call |

mod desk;
pub mod grant;
pub mod quota;
pub mod rules;
mod service;

pub use desk::MungeDesk;
pub use rules::UsersConfig;
pub use service::UserService;
