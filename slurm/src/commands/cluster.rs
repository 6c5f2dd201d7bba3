//! What Slurm says of the cluster as a whole.

use rampool_proto::v1::Failure;

use super::Commands;
use crate::text::burst::Buffer;
use crate::text::config::Config;
use crate::text::partition::Partition;

impl Commands {
    /// All partitions, those that users do not see too.
    ///
    /// # Errors
    /// Where Slurm does not say.
    pub async fn partitions(&self) -> Result<Vec<Partition>, Failure> {
        let arguments = ["--all", "-o", "show", "partition"];
        self.show("list Slurm's partitions", &arguments, Partition::read_all).await
    }

    /// The burst buffer.
    ///
    /// # Errors
    /// Where Slurm does not say, or has none.
    pub async fn buffer(&self) -> Result<Buffer, Failure> {
        self.show("look at Slurm's burst buffer", &["show", "burst"], Buffer::read).await
    }

    /// The configuration.
    ///
    /// # Errors
    /// Where Slurm does not say.
    pub async fn config(&self) -> Result<Config, Failure> {
        self.show("read Slurm's configuration", &["show", "config"], Config::read).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake_slurm::FakeSlurm;

    #[tokio::test]
    async fn partitions_and_configuration_are_read_or_an_error() {
        let slurm = FakeSlurm::new();
        slurm.says("scontrol", "PartitionName=main PreemptMode=GANG,SUSPEND State=UP\n");
        assert!(slurm.commands().partitions().await.unwrap()[0].suspends);
        let told = slurm.commands().config().await.unwrap_err();
        assert!(told.to_string().contains("no ClusterName"), "{told}");
        slurm.says("scontrol", "ClusterName             = spike\n");
        assert_eq!(slurm.commands().config().await.unwrap().cluster(), "spike");
        assert!(slurm.commands().partitions().await.is_err());
        slurm.says("scontrol", "");
        assert!(slurm.commands().partitions().await.is_err());
        assert!(slurm.commands().nodes().await.is_err());
    }
}
