//! What one look of the driver costs over a database file: `./dev bench` runs this.
//!
//! `look DATABASE NOW-MS LOOKS` prints one JSON object: milliseconds of every look, and how many decisions it made.

use godwit_control::{look, store::Store};
use godwit_model::schedule::Limits;
use godwit_model::time::{Millis, Timestamp};
use tokio::time::Instant;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [database, now, looks] = &arguments[..] else { return Err("give DATABASE NOW-MS LOOKS".into()) };
    let now = Timestamp(now.parse()?);
    let store = Store::open(database.as_ref()).await?;
    let limits = Limits { max_active: 2, since: now - Millis::DAY, late_start: Millis::MINUTE.times(5) };
    let mut spent = Vec::new();
    let mut decisions = 0;
    for _ in 0..looks.parse()? {
        let begin = Instant::now();
        decisions = look(&store, &limits, now).await?.0.len();
        spent.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    store.close().await;
    println!("{}", serde_json::json!({ "milliseconds": spent, "decisions": decisions }));
    Ok(())
}
