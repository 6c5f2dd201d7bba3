//! Builds the root image with mmdebstrap, once per recipe, into a cache outside the work tree.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use super::recipe::{COMPRESSION, LEFT_OUT, PACKAGES, PRUNED, Recipe, USER, debian_sources};

/// The folder that keeps images: `$RAMPOOL_LAB_CACHE`, else `rampool-lab` in the user's cache.
///
/// # Errors
/// When neither that variable nor `HOME` is set.
pub fn cache() -> Result<PathBuf> {
    let from =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    from("RAMPOOL_LAB_CACHE")
        .or_else(|| from("XDG_CACHE_HOME").map(|cache| cache.join("rampool-lab")))
        .or_else(|| from("HOME").map(|home| home.join(".cache/rampool-lab")))
        .context("no place for the root image: set HOME or RAMPOOL_LAB_CACHE")
}

/// This machine's recipe.
///
/// # Errors
/// When the machine does not say which Debian release it is.
pub fn machine_recipe(kernel_release: &str) -> Result<Recipe> {
    let os_release =
        fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    Recipe::for_machine(&os_release, kernel_release)
}

/// The image of a recipe, built first if the cache does not have it; `progress` is told what goes on.
///
/// # Errors
/// When it cannot be built; the error says at which step, and what the program said.
pub fn ensure_image(recipe: &Recipe, mut progress: impl FnMut(&str)) -> Result<PathBuf> {
    let cache = cache()?;
    let image = cache.join(recipe.file_name());
    if image.is_file() {
        return Ok(image);
    }
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let lock_path = cache.join("lock");
    let lock =
        File::create(&lock_path).with_context(|| format!("cannot open {}", lock_path.display()))?;
    if lock.try_lock().is_err() {
        progress("another process is building the root image, waiting for it");
        lock.lock().with_context(|| format!("cannot lock {}", lock_path.display()))?;
    }
    if image.is_file() {
        return Ok(image);
    }
    ensure!(nix::unistd::geteuid().is_root(), "the root image can only be built by root: use sudo");
    remove_leftovers(&cache)?;
    let work = cache.join(format!("tmp-{}", std::process::id()));
    fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    let built = build(recipe, &work, &mut progress).and_then(|new| {
        fs::rename(&new, &image)
            .with_context(|| format!("cannot rename {} into its place", new.display()))
    });
    let removed =
        fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()));
    built?;
    removed?;
    Ok(image)
}

/// What a builder that was killed left: nobody uses it, since the lock is ours.
fn remove_leftovers(cache: &Path) -> Result<()> {
    for entry in fs::read_dir(cache).with_context(|| format!("cannot read {}", cache.display()))? {
        let path = entry.context("cannot read the cache")?.path();
        let name =
            path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with("tmp-") {
            fs::remove_dir_all(&path)
                .with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn build(recipe: &Recipe, work: &Path, progress: &mut impl FnMut(&str)) -> Result<PathBuf> {
    progress("building the root image: packages (about two minutes, once on this machine)");
    let root = work.join("root");
    let mut bootstrap = Command::new("mmdebstrap");
    bootstrap.args(["--mode=root", "--variant=minbase"]);
    bootstrap.arg(format!("--include={}", PACKAGES.join(",")));
    bootstrap.args(LEFT_OUT.map(|path| format!("--dpkgopt=path-exclude={path}")));
    bootstrap.arg("--aptopt=APT::Install-Recommends \"false\"");
    let (user, id) = USER;
    bootstrap.arg(format!(
        "--customize-hook=chroot \"$1\" useradd --uid {id} --create-home --shell /bin/bash {user}"
    ));
    bootstrap.args(machine_apt_options()?);
    bootstrap.arg(&recipe.suite).arg(&root);
    bootstrap.args(machine_sources(&recipe.suite, work)?);
    call(&mut bootstrap, "mmdebstrap", "mmdebstrap")?;

    progress("building the root image: compressing");
    tidy(&root)?;
    let image = work.join("image.squashfs");
    let mut squash = Command::new("mksquashfs");
    squash.arg(&root).arg(&image).args(COMPRESSION);
    squash
        .args(["-noappend", "-no-xattrs", "-no-progress", "-quiet", "-wildcards", "-e"])
        .args(PRUNED);
    call(&mut squash, "mksquashfs", "squashfs-tools")?;
    Ok(image)
}

/// What the image must not have: another machine's identity, its way to name servers, and a
/// secret that all labs would share.
fn tidy(root: &Path) -> Result<()> {
    for name in [
        "etc/hostname",
        "etc/resolv.conf",
        "etc/machine-id",
        "etc/iscsi/initiatorname.iscsi",
        "etc/munge/munge.key",
    ] {
        match fs::remove_file(root.join(name)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(e).with_context(|| format!("cannot remove {name} from the image"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The machine's Debian sources, each file written anew with only what the image is built from.
fn machine_sources(suite: &str, work: &Path) -> Result<Vec<PathBuf>> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.retain(|path| path.extension().is_some_and(|e| e == "list" || e == "sources"));
    files.sort();
    let mut ours = Vec::new();
    for file in files {
        let kept = debian_sources(&fs::read_to_string(&file).unwrap_or_default(), suite);
        if !kept.is_empty() {
            let copy = work.join(format!("sources-{}", ours.len()));
            fs::write(&copy, kept).with_context(|| format!("cannot write {}", copy.display()))?;
            ours.push(copy);
        }
    }
    ensure!(
        !ours.is_empty(),
        "no apt source of Debian {suite}, component main, in /etc/apt/sources.list or /etc/apt/sources.list.d"
    );
    Ok(ours)
}

/// How the machine's apt reaches its servers (a proxy, time-outs, checks): the image's apt does the same.
fn machine_apt_options() -> Result<Vec<String>> {
    let said =
        Command::new("apt-config").arg("dump").output().context("cannot run apt-config dump")?;
    Ok(apt_options(&String::from_utf8_lossy(&said.stdout))
        .map(|line| format!("--aptopt={line}"))
        .collect())
}

fn apt_options(dump: &str) -> impl Iterator<Item = &str> {
    let wanted = ["Acquire::http", "Acquire::https", "Acquire::Retries", "Acquire::Check-"];
    dump.lines().filter(move |line| {
        wanted.iter().any(|name| line.starts_with(name)) && !line.ends_with("\"\";")
    })
}

fn call(command: &mut Command, program: &str, package: &str) -> Result<()> {
    let output = match command.output() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            bail!("no program {program}: apt-get install {package}")
        }
        other => other.with_context(|| format!("cannot run {program}"))?,
    };
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{program}: {}\n{}",
        output.status,
        crate::files::last_lines(&said, 20)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_reaches_servers_is_taken_from_apt() {
        let dump = "APT \"\";\nAcquire::http \"\";\nAcquire::http::Proxy \"http://p.invalid:1\";\nDPkg::Post-Invoke:: \"x\";\n\
                    Acquire::Check-Valid-Until \"false\";\n";
        let kept: Vec<_> = apt_options(dump).collect();
        assert_eq!(
            kept,
            [
                "Acquire::http::Proxy \"http://p.invalid:1\";",
                "Acquire::Check-Valid-Until \"false\";"
            ]
        );
    }
}
