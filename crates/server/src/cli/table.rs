//! Tables without borders, and lists of facts.

use crate::cli::error::CliError;
use crate::cli::output::{self, Tone};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};

/// A cell: its text, and how it is to catch the eye.
#[derive(Clone)]
pub struct Field {
    text: String,
    tone: Option<Tone>,
    right: bool,
}

impl<T: Into<String>> From<T> for Field {
    fn from(text: T) -> Self {
        Field { text: text.into(), tone: None, right: false }
    }
}

impl Field {
    /// A number: its digits stand below each other.
    pub fn number(text: impl Into<String>) -> Self {
        Field { right: true, ..Field::from(text) }
    }

    /// In a tone.
    pub fn tone(mut self, tone: Tone) -> Self {
        self.tone = Some(tone);
        self
    }

    /// A state of the API model, in the tone of what it means.
    pub fn state(state: &str) -> Self {
        let tone = tone_of(state);
        Field { tone, ..Field::from(super::human::state(state)) }
    }
}

/// What a state means for the reader.
pub fn tone_of(state: &str) -> Option<Tone> {
    match state {
        "HEALTHY" | "COMPLETED" | "AVAILABLE" | "VERIFIED" => Some(Tone::Good),
        "UNHEALTHY" | "FAILED" | "FAILING" | "DAMAGED" => Some(Tone::Bad),
        "ACTIVE" | "RUNNING" | "IMPORTING" | "DELETING" => Some(Tone::Busy),
        "PAUSED_ON_FAILURE" | "MISSED" | "EXPIRED" => Some(Tone::Warning),
        "DELETED" | "PENDING" | "UNVERIFIED" | "NOT_IMPORTED" => Some(Tone::Faint),
        _ => None,
    }
}

/// Writes a table. Where the terminal is too narrow, columns named in `expendable` are left out, the first ones first:
/// nothing is ever folded or cut, because people copy from here. What is piped is always whole.
pub fn table<const N: usize>(header: [&str; N], expendable: &[&str], rows: &[[Field; N]]) -> Result<(), CliError> {
    let mut left_out: Vec<&str> = Vec::new();
    let mut more = expendable.iter();
    let text = loop {
        let text = render(header, &left_out, rows, false);
        let width = text.lines().map(|line| line.chars().count()).max().unwrap_or_default();
        if output::columns().is_none_or(|columns| width <= columns) {
            break text;
        }
        match more.next() {
            Some(column) => left_out.push(column),
            None => break text,
        }
    };
    output::line(if output::colours() { render(header, &left_out, rows, true) } else { text })
}

fn render<const N: usize>(header: [&str; N], left_out: &[&str], rows: &[[Field; N]], colours: bool) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if colours {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    let shown: Vec<usize> = (0..N).filter(|column| !left_out.contains(&header[*column])).collect();
    let tone = |tone: Option<Tone>| tone.filter(|_| colours);
    let heading = |column: &usize| {
        let right = rows.first().is_some_and(|row| row[*column].right);
        styled(&Field { text: header[*column].to_uppercase(), tone: tone(Some(Tone::Faint)), right })
    };
    table.set_header(shown.iter().map(heading).collect::<Vec<_>>());
    for row in rows {
        let cell = |column: &usize| styled(&Field { tone: tone(row[*column].tone), ..row[*column].clone() });
        table.add_row(shown.iter().map(cell).collect::<Vec<_>>());
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn styled(field: &Field) -> Cell {
    let cell = Cell::new(&field.text);
    let cell = if field.right { cell.set_alignment(CellAlignment::Right) } else { cell };
    match field.tone {
        Some(Tone::Good) => cell.fg(comfy_table::Color::DarkGreen),
        Some(Tone::Warning) => cell.fg(comfy_table::Color::DarkYellow),
        Some(Tone::Bad) => cell.fg(comfy_table::Color::DarkRed),
        Some(Tone::Busy) => cell.fg(comfy_table::Color::DarkCyan),
        Some(Tone::Faint) => cell.add_attribute(comfy_table::Attribute::Dim),
        Some(Tone::Strong) => cell.add_attribute(comfy_table::Attribute::Bold),
        None => cell,
    }
}

/// Writes facts: a name and a value on each line, the values below each other.
pub fn facts(facts: &[(&str, Field)]) -> Result<(), CliError> {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, field) in facts {
        let name = output::paint(&format!("{name:width$}"), Tone::Faint);
        let value = field.tone.map_or_else(|| field.text.clone(), |tone| output::paint(&field.text, tone));
        output::line(format!("{name}  {value}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<[Field; 3]> {
        vec![
            ["s-00000001".into(), Field::number("1.5 GiB"), Field::state("PAUSED_ON_FAILURE")],
            ["s-0000000a".into(), Field::number("64 KiB"), Field::state("ACTIVE")],
        ]
    }

    #[test]
    fn columns_stand_below_each_other_without_borders() {
        let text = render(["server", "size", "state"], &[], &rows(), false);
        let wanted = "SERVER         SIZE  STATE\ns-00000001  1.5 GiB  paused on failure\ns-0000000a   64 KiB  active";
        assert_eq!(text, wanted);
    }

    #[test]
    fn columns_can_be_left_out() {
        let text = render(["server", "size", "state"], &["size"], &rows(), false);
        assert_eq!(text.lines().nth(2), Some("s-0000000a  active"));
    }

    #[test]
    fn colours_do_not_move_columns() {
        let text = render(["server", "size", "state"], &[], &rows(), true);
        assert!(text.contains('\u{1b}'));
        let mut plain = String::new();
        let mut escape = false;
        for letter in text.chars() {
            match letter {
                '\u{1b}' => escape = true,
                'm' if escape => escape = false,
                letter if !escape => plain.push(letter),
                _ => {}
            }
        }
        let lines: Vec<_> = plain.lines().map(str::trim_end).collect();
        assert_eq!(lines.join("\n"), render(["server", "size", "state"], &[], &rows(), false));
    }

    #[test]
    fn long_texts_are_not_folded() {
        let long = "x".repeat(500);
        let text = render(["name"], &[], &[[Field::from(long.clone())]], false);
        assert_eq!(text.lines().nth(1), Some(long.as_str()));
    }
}
