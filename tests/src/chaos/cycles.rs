//! Up, use, down, many times: free memory must show no trend.

use anyhow::{Context, Result, ensure};

use super::aftermath::as_before;
use super::stage::{MOUNT, POOL, Stage, plain_words};
use crate::load::{add_files, compare_files};
use crate::witness::log::Log;

/// What a node may have lost over all cycles by the trend: what one cell may miss.
const DRIFT: f64 = 8.0 * 1024.0 * 1024.0;

/// The first cycles fill slabs and per-CPU lists.
const WARM_UP: usize = 2;

/// Files made and compared in each.
const FILES: u64 = 20;

/// Runs `count` cycles on a booted cluster; the steepest trend, in words.
pub fn run(stage: &Stage, count: usize) -> Result<String> {
    let mut free: Vec<Vec<f64>> = vec![Vec::new(); stage.cluster.nodes().len()];
    let mut before = stage.cluster.weighed_footprints()?;
    for cycle in 0..count + WARM_UP {
        stage.rampool(&plain_words())?.ok()?;
        let mut log = Log::default();
        add_files(stage.head(), MOUNT, &mut log, FILES)?;
        compare_files(stage.head(), MOUNT, &log)?;
        stage.rampool(&["down", POOL])?.ok()?;
        before = as_before(stage, None, &before).with_context(|| format!("cycle {cycle}"))?;
        for (free, after) in free.iter_mut().zip(&before) {
            // Memory of a lab's node fits a float to the byte.
            free.push(after.available as f64);
        }
    }
    judge(stage.cluster.nodes(), &free)
}

fn judge(nodes: &[String], free: &[Vec<f64>]) -> Result<String> {
    let mut words = Vec::new();
    for (node, free) in nodes.iter().zip(free) {
        let counted = &free[WARM_UP..];
        let drift = slope(counted) * counted.len() as f64;
        ensure!(
            drift > -DRIFT,
            "{node} loses {:.1} MiB over {} cycles by the trend",
            -drift / f64::from(1 << 20),
            counted.len()
        );
        words.push(format!("{node} {:+.1} MiB", drift / f64::from(1 << 20)));
    }
    Ok(format!("trend over all cycles: {}", words.join(", ")))
}

/// Least squares: by how much the values change from one to the next.
fn slope(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let (middle, mean) = ((count - 1.0) / 2.0, values.iter().sum::<f64>() / count);
    let off = |index: usize| index as f64 - middle;
    let covariance: f64 = values.iter().enumerate().map(|(i, v)| off(i) * (v - mean)).sum();
    let variance: f64 = (0..values.len()).map(|i| off(i) * off(i)).sum();
    if variance > 0.0 { covariance / variance } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trend_is_found_in_noise_and_noise_is_none() {
        assert!((slope(&[1.0, 3.0, 5.0, 7.0]) - 2.0).abs() < 1e-9);
        assert!(slope(&[5.0, 1.0, 1.0, 5.0]).abs() < 1e-9);
        assert!(slope(&[5.0]).abs() < 1e-9);
        let mib = f64::from(1 << 20);
        let free = |loss: f64| {
            vec![(0..52).map(|i| 500.0 * mib - f64::from(i) * loss).collect::<Vec<_>>()]
        };
        let nodes = ["n1".to_owned()];
        assert!(judge(&nodes, &free(0.1 * mib)).is_ok());
        assert!(judge(&nodes, &free(0.2 * mib)).unwrap_err().to_string().contains("n1 loses 10"));
    }
}
