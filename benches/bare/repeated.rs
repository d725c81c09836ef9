use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Outcome;

/// Does a piece of work again and again; the order is for how many seconds. The clock is looked at after `batch` pieces.
pub(super) fn repeat(order: &[&str], batch: u32, mut work: impl FnMut() -> Outcome<()>) -> Outcome<Value> {
    let [seconds] = order else {
        return Err("the order is SECONDS".into());
    };
    let enough = Duration::from_secs_f64(seconds.parse()?);
    let begun = Instant::now();
    let mut count = 0_u32;
    while begun.elapsed() < enough {
        for _ in 0..batch {
            work()?;
        }
        count += batch;
    }
    Ok(json!({"count": count, "seconds": begun.elapsed().as_secs_f64()}))
}
