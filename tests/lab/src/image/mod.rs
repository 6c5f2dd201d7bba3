//! What a node boots from: UML's kernel and modules, an initramfs, and a read-only root image.

pub mod build;
pub mod initramfs;
pub mod kernel;
pub mod recipe;
