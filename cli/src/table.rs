//! Aligned columns for people.
//!
//! Invariants: a column is as wide as its widest cell so far; the last one is not padded; no cell carries a control
//! character. Pages of one long list share their columns, so that the list need not fit into memory.
//!
//! Deliberately absent: borders, wrapping, colors (but for a bold head on a terminal).

use std::io::{self, Write};

use crate::words;

/// Where the cells of a column stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Align {
    Left,
    Right,
}

use Align::{Left, Right};

pub(crate) type Column = (&'static str, Align);

/// For text.
pub(crate) const fn left(head: &'static str) -> Column {
    (head, Left)
}

/// For numbers.
pub(crate) const fn right(head: &'static str) -> Column {
    (head, Right)
}

#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    widths: Vec<usize>,
    rows: Vec<Vec<String>>,
    head_is_out: bool,
}

impl Table {
    pub(crate) fn new<const N: usize>(columns: [Column; N]) -> Table {
        let widths = columns.iter().map(|(head, _)| width(head)).collect();
        Table { columns: columns.into(), widths, rows: Vec::new(), head_is_out: false }
    }

    /// One cell for each column.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        assert_eq!(N, self.columns.len(), "a cell for each column");
        let cells = cells.map(|cell| words::plain(&cell).into_owned());
        for (widest, cell) in self.widths.iter_mut().zip(&cells) {
            *widest = width(cell).max(*widest);
        }
        self.rows.push(cells.into());
    }

    /// Writes what has come since the last time, and the head before anything else.
    pub(crate) fn write(&mut self, out: &mut dyn Write, bold_head: bool) -> io::Result<()> {
        if !self.head_is_out {
            self.head_is_out = true;
            let head: Vec<String> = self.columns.iter().map(|(head, _)| (*head).to_owned()).collect();
            let line = self.line(&head);
            match bold_head {
                true => writeln!(out, "\x1b[1m{line}\x1b[0m")?,
                false => writeln!(out, "{line}")?,
            }
        }
        for row in std::mem::take(&mut self.rows) {
            writeln!(out, "{}", self.line(&row))?;
        }
        Ok(())
    }

    fn line(&self, cells: &[String]) -> String {
        let mut line = String::new();
        for (at, (cell, (_, align))) in cells.iter().zip(&self.columns).enumerate() {
            let pad = self.widths[at] - width(cell);
            let (before, after) = if *align == Right { (pad, 0) } else { (0, pad) };
            line.extend(std::iter::repeat_n(' ', before));
            line.push_str(cell);
            if at + 1 < cells.len() {
                line.extend(std::iter::repeat_n(' ', after + 2));
            }
        }
        line
    }
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [left("NAME"), right("SIZE"), left("KEY")];

    fn written(table: &mut Table) -> String {
        let mut out = Vec::new();
        table.write(&mut out, false).expect("memory takes it");
        String::from_utf8(out).expect("it is text")
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(COLUMNS);
        table.row(["größer".into(), "1 B".into(), "a".into()]);
        table.row(["b".into(), "100 KiB".into(), "longer".into()]);
        let lines = ["NAME       SIZE  KEY", "größer      1 B  a", "b       100 KiB  longer", ""];
        assert_eq!(written(&mut table), lines.join("\n"));
    }

    #[test]
    fn next_page_has_no_head_and_keeps_the_columns() {
        let mut table = Table::new(COLUMNS);
        table.row(["wide".into(), "12345".into(), "k".into()]);
        assert_eq!(written(&mut table).lines().count(), 2);
        table.row(["n".into(), "1".into(), "k".into()]);
        assert_eq!(written(&mut table), "n         1  k\n");
    }

    #[test]
    fn nothing_but_a_head_is_a_head() {
        assert_eq!(written(&mut Table::new(COLUMNS)), "NAME  SIZE  KEY\n");
    }

    #[test]
    fn control_characters_stay_out() {
        let mut table = Table::new(COLUMNS);
        table.row(["\x1b[2J".into(), "1".into(), "a\nb".into()]);
        let text = written(&mut table);
        assert!(!text.contains('\x1b') && text.lines().count() == 2, "{text}");
    }
}
