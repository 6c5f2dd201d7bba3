//! Flags over file, and both to the wire's `PoolSpec`. Pure.

use rampool_proto::size::KIB;
use rampool_proto::v1::pool_spec::Capacity;
use rampool_proto::v1::{
    AtExpiry, Backend, Failure, FailureKind, FilesystemKind, PoolSpec, Redundancy, VolumeLayout,
};

use super::caller::Caller;
use super::wish::Wish;

impl Wish {
    /// These wishes, and `file`'s where these are silent. A size here takes the place of either
    /// size there, and donors here of either way to name donors there.
    #[must_use]
    pub fn over(self, file: Wish) -> Self {
        let (sized, chosen) = (
            self.size.is_some() || self.size_per_donor.is_some(),
            self.donors.is_some() || self.donor_count.is_some(),
        );
        Self {
            name: self.name.or(file.name),
            size: self.size.or(file.size.filter(|_| !sized)),
            size_per_donor: self.size_per_donor.or(file.size_per_donor.filter(|_| !sized)),
            head: self.head.or(file.head),
            donors: self.donors.or(file.donors.filter(|_| !chosen)),
            donor_count: self.donor_count.or(file.donor_count.filter(|_| !chosen)),
            clients: self.clients.or(file.clients),
            backend: self.backend.or(file.backend),
            layout: self.layout.or(file.layout),
            redundancy: self.redundancy.or(file.redundancy),
            spares: self.spares.or(file.spares),
            auto_replace: self.auto_replace.or(file.auto_replace),
            fs: self.fs.or(file.fs),
            chunk: self.chunk.or(file.chunk),
            mount_point: self.mount_point.or(file.mount_point),
            lease: self.lease.or(file.lease),
            at_expiry: self.at_expiry.or(file.at_expiry),
            patience: self.patience.or(file.patience),
            account: self.account.or(file.account),
            profile: self.profile.or(file.profile),
            head_may_lend: self.head_may_lend.or(file.head_may_lend),
        }
    }

    /// The spec, asked for by `caller`.
    pub fn spec(self, caller: Caller) -> Result<PoolSpec, Failure> {
        let name = self.name.as_ref().ok_or_else(|| {
            invalid("the pool has no name; write `name:` in the file or NAME after the command")
        })?;
        Ok(PoolSpec {
            name: name.to_string(),
            capacity: self.capacity()?,
            donors: self.donors_text()?,
            donor_count: self.donor_count.unwrap_or_default(),
            chunk_kib: self.chunk_kib()?,
            patience_seconds: self.patience_seconds()?,
            clients: self.clients.map(|clients| clients.to_string()).unwrap_or_default(),
            profile: self.profile.unwrap_or_default(),
            account: self.account.unwrap_or_default(),
            head: self.head.map(|head| head.0).unwrap_or_default(),
            backend: self.backend.map_or(Backend::Unspecified, Into::into).into(),
            layout: self.layout.map_or(VolumeLayout::Unspecified, Into::into).into(),
            filesystem: self.fs.map_or(FilesystemKind::Unspecified, Into::into).into(),
            mount_point: self.mount_point.unwrap_or_default(),
            lease_seconds: self.lease.map_or(0, |lease| lease.0),
            owner: caller.name,
            uid: caller.uid,
            gid: caller.gid,
            head_may_lend: self.head_may_lend.unwrap_or_default(),
            redundancy: self.redundancy.map_or(Redundancy::Unspecified, Into::into).into(),
            spares: self.spares,
            auto_replace: self.auto_replace,
            at_expiry: self.at_expiry.map_or(AtExpiry::Unspecified, Into::into).into(),
            ..PoolSpec::default()
        })
    }

    fn capacity(&self) -> Result<Option<Capacity>, Failure> {
        match (self.size, self.size_per_donor) {
            (Some(_), Some(_)) => Err(invalid("write size or size_per_donor, not both")),
            (Some(size), None) => Ok(Some(Capacity::SizeBytes(size.0))),
            (None, Some(size)) => Ok(Some(Capacity::SizePerDonorBytes(size.0))),
            (None, None) => Ok(None),
        }
    }

    fn donors_text(&self) -> Result<String, Failure> {
        match (&self.donors, self.donor_count) {
            (Some(_), Some(_)) => Err(invalid("write donors or donor_count, not both")),
            (None, Some(0)) => Err(invalid("donor_count is 0; leave it out for any number")),
            (donors, _) => Ok(donors.as_ref().map(ToString::to_string).unwrap_or_default()),
        }
    }

    fn chunk_kib(&self) -> Result<u32, Failure> {
        let Some(chunk) = self.chunk else { return Ok(0) };
        let kib = u32::try_from(chunk.0 / KIB).ok().filter(|kib| *kib > 0);
        kib.filter(|_| chunk.0.is_multiple_of(KIB)).ok_or_else(|| {
            invalid(format!("chunk {} is no whole number of KiB below 4 TiB", chunk.exact()))
        })
    }

    fn patience_seconds(&self) -> Result<u32, Failure> {
        let seconds = self.patience.map_or(0, |patience| patience.0);
        u32::try_from(seconds).map_err(|_| invalid("patience of more than 136 years"))
    }
}

fn invalid(said: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Invalid, "read the request").saying(said.into())
}

#[cfg(test)]
mod tests {
    use rampool_proto::size::{GIB, TIB};

    use super::*;

    const FILE: &str = "
        name: demo
        size: 3T
        head: n1
        donors: n[2-5]
        backend: rd_mcp
        layout: md
        fs: xfs
        chunk: 64K
        mount_point: /mnt/demo
        lease: 12h
        patience: 30s
        profile: fast
        account: chem
        head_may_lend: true
        redundancy: double-parity
        spares: 2
        auto_replace: false
        at_expiry: release
    ";

    fn wish(yaml: &str) -> Wish {
        serde_yaml::from_str(yaml).unwrap()
    }

    fn caller() -> Caller {
        Caller { name: "alice".into(), uid: 1000, gid: 100 }
    }

    #[test]
    fn every_wish_reaches_the_spec() {
        let spec = wish(FILE).spec(caller()).unwrap();
        let expected = PoolSpec {
            name: "demo".into(),
            profile: "fast".into(),
            account: "chem".into(),
            capacity: Some(Capacity::SizeBytes(3 * TIB)),
            head: "n1".into(),
            donors: "n[2-5]".into(),
            donor_count: 0,
            backend: Backend::RdMcp.into(),
            layout: VolumeLayout::Md.into(),
            filesystem: FilesystemKind::Xfs.into(),
            chunk_kib: 64,
            mount_point: "/mnt/demo".into(),
            lease_seconds: 43_200,
            owner: "alice".into(),
            uid: 1000,
            gid: 100,
            patience_seconds: 30,
            head_may_lend: true,
            redundancy: Redundancy::DoubleParity.into(),
            spares: Some(2),
            auto_replace: Some(false),
            at_expiry: AtExpiry::Release.into(),
            ..PoolSpec::default()
        };
        assert_eq!(spec, expected);
    }

    #[test]
    fn what_is_left_out_stays_unset_for_the_controller_to_fill() {
        let spec = wish("name: demo").spec(Caller { name: String::new(), uid: 0, gid: 0 }).unwrap();
        assert_eq!(spec, PoolSpec { name: "demo".into(), ..PoolSpec::default() });
    }

    #[test]
    fn flags_win_over_the_file() {
        let flags = "name: other\nsize_per_donor: 64G\ndonor_count: 3\nhead_may_lend: false\n\
                     redundancy: none\nspares: 0\nauto_replace: true\nat_expiry: keep";
        let flags = wish(flags);
        let spec = flags.over(wish(FILE)).spec(caller()).unwrap();
        assert_eq!(spec.name, "other");
        assert_eq!(spec.capacity, Some(Capacity::SizePerDonorBytes(64 * GIB)));
        assert_eq!((spec.donors.as_str(), spec.donor_count), ("", 3));
        assert!(!spec.head_may_lend);
        assert_eq!((spec.redundancy(), spec.spares), (Redundancy::None, Some(0)));
        assert_eq!((spec.auto_replace, spec.at_expiry()), (Some(true), AtExpiry::Keep));
        assert_eq!(spec.mount_point, "/mnt/demo");
        assert_eq!(Wish::default().over(wish(FILE)), wish(FILE));
        assert_eq!(wish(FILE).over(wish("size_per_donor: 1G")), wish(FILE));
    }

    #[test]
    fn contradictions_are_invalid() {
        for (yaml, words) in [
            ("size: 1T", "no name"),
            ("name: a\nsize: 1T\nsize_per_donor: 1G", "not both"),
            ("name: a\ndonors: n1\ndonor_count: 1", "not both"),
            ("name: a\ndonor_count: 0", "leave it out"),
            ("name: a\nchunk: 100B", "no whole number of KiB"),
            ("name: a\nchunk: 4T", "no whole number of KiB"),
            ("name: a\nchunk: 0K", "no whole number of KiB"),
            ("name: a\npatience: 9999999999s", "136 years"),
        ] {
            let failure = wish(yaml).spec(caller()).unwrap_err();
            assert_eq!(failure.kind(), FailureKind::Invalid);
            assert!(failure.said.contains(words), "{yaml}: {failure}");
        }
    }
}
