//! `godwit jobs forecast`.

use crate::cli::error::CliError;
use crate::cli::output::{self, Tone};
use crate::cli::table::{Field, table};
use crate::cli::{human, ranges};
use crate::client::Client;
use crate::outside;
use godwit_api::shapes::godwit::{ForecastDescription, GetForecastRequest, GetForecastResponse};
use godwit_model::time::Timestamp;

/// Columns that a narrow terminal does without.
const EXPENDABLE: &[&str] = &["stores between", "stores"];

/// Asks and shows.
pub(super) async fn forecast(client: &Client, json: bool, job: String) -> Result<(), CliError> {
    let told = client.get_forecast(&GetForecastRequest { replication_job_id: job }).await?;
    if json {
        return output::json(&told);
    }
    let all = named(&told, outside::now());
    if all.is_empty() {
        return output::line(format!("{} makes no more runs: nothing to forecast.", told.replication_job_id));
    }
    let row = |(name, forecast): &(String, &ForecastDescription)| {
        let [read, reads_between] = ranges::bytes(forecast.bytes_read.as_ref());
        let [stored, stores_between] = ranges::bytes(forecast.bytes_stored.as_ref());
        let [took, takes_between] = ranges::seconds(forecast.seconds.as_ref());
        [
            name.as_str().into(),
            Field::number(read),
            reads_between.into(),
            Field::number(stored),
            stores_between.into(),
            Field::number(took),
            takes_between.into(),
        ]
    };
    let header = ["what", "reads", "reads between", "stores", "stores between", "takes", "takes between"];
    table(header, EXPENDABLE, &all.iter().map(row).collect::<Vec<_>>())?;
    output::line("")?;
    for (name, forecast) in &all {
        output::line(format!("{} {}", output::paint(&format!("{name}:"), Tone::Faint), basis(forecast)))?;
    }
    Ok(())
}

fn named(told: &GetForecastResponse, now: Timestamp) -> Vec<(String, &ForecastDescription)> {
    let mut all = Vec::new();
    all.extend(told.first_copy.as_ref().map(|forecast| ("first copy".to_owned(), forecast)));
    all.extend(told.next_run.as_ref().map(|forecast| {
        let due = forecast.due_on.map_or_else(String::new, |due| format!(", {}", human::ago(due.into(), now)));
        (format!("next run{due}"), forecast)
    }));
    all.extend(told.cut_over.as_ref().map(|forecast| ("cut-over now".to_owned(), forecast)));
    all
}

fn basis(forecast: &ForecastDescription) -> String {
    match forecast.seconds_of_changes {
        Some(seconds) => format!("changes of {}; {}", human::span(ranges::millis(seconds)), forecast.basis),
        None => forecast.basis.clone(),
    }
}
