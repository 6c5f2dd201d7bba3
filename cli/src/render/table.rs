//! Columns without rules.

use std::fmt::Display;

use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, presets};

use super::look::{Look, Tone};
use super::plain::one_line;

/// A table with these headings. A heading that begins with `>` is of numbers, set to the right.
pub(super) fn table(headings: &[&str], look: &Look) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).force_no_tty();
    if look.colour {
        table.enforce_styling();
    }
    if let Some(width) = look.width {
        table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic);
    }
    table.set_header(headings.iter().map(|heading| heading.trim_start_matches('>')));
    for (index, heading) in headings.iter().enumerate() {
        if let Some(column) = table.column_mut(index) {
            column.set_padding((0, 2));
            if heading.starts_with('>') {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table
}

/// A cell; other programs' words are made fit for a terminal.
pub(super) fn cell(value: impl Display) -> Cell {
    Cell::new(one_line(&value.to_string()))
}

/// A cell that tells good from bad.
pub(super) fn toned(text: &str, tone: Tone) -> Cell {
    cell(text).fg(match tone {
        Tone::Good => Color::Green,
        Tone::Warning => Color::Yellow,
        Tone::Bad => Color::Red,
    })
}

/// The table's text, no line with blanks at its end.
pub(super) fn text(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}
