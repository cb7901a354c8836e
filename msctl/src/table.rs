//! Tables as `ss` prints them: a line of headings, columns as wide as their longest cell.

use std::fmt;

/// The heading of a column, and how its cells are aligned.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    title: &'static str,
    right: bool,
}

/// A column of words.
pub const fn left(title: &'static str) -> Column {
    Column {
        title,
        right: false,
    }
}

/// A column of numbers.
pub const fn right(title: &'static str) -> Column {
    Column { title, right: true }
}

/// Rows of cells under headings.
#[derive(Debug)]
pub struct Table<const N: usize> {
    columns: [Column; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub const fn new(columns: [Column; N]) -> Self {
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    pub fn push(&mut self, row: [String; N]) {
        self.rows.push(row);
    }

    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn widths(&self) -> [usize; N] {
        let mut widths = self.columns.map(|column| column.title.chars().count());
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        widths
    }

    fn line<'a>(&self, widths: &[usize; N], cells: impl Iterator<Item = &'a str>) -> String {
        let cells: Vec<_> = cells
            .zip(self.columns)
            .zip(widths)
            .map(|((cell, column), &width)| {
                if column.right {
                    format!("{cell:>width$}")
                } else {
                    format!("{cell:<width$}")
                }
            })
            .collect();
        let mut line = cells.join("  ");
        line.truncate(line.trim_end().len());
        line
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        let titles = self.columns.iter().map(|column| column.title);
        writeln!(f, "{}", self.line(&widths, titles))?;
        for row in &self.rows {
            writeln!(f, "{}", self.line(&widths, row.iter().map(String::as_str)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let mut table = Table::new([right("ID"), left("NAME"), right("PACKETS")]);
        table.push(["7".into(), "a".into(), "12345678".into()]);
        table.push(["1000".into(), "longer".into(), "9".into()]);
        let expected = [
            "  ID  NAME     PACKETS\n",
            "   7  a       12345678\n",
            "1000  longer         9\n",
        ]
        .concat();
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn no_line_ends_in_spaces() {
        let mut table = Table::new([right("ID"), left("ADDRESSES")]);
        table.push(["1".into(), "a".into()]);
        assert_eq!(table.to_string(), "ID  ADDRESSES\n 1  a\n");
    }

    #[test]
    fn width_counts_characters_not_bytes() {
        let mut table = Table::new([left("N"), right("X")]);
        table.push(["äöü".into(), "1".into()]);
        table.push(["abc".into(), "2".into()]);
        assert_eq!(table.to_string(), "N    X\näöü  1\nabc  2\n");
    }

    #[test]
    fn without_rows_the_headings_remain() {
        let table = Table::new([left("NAME"), left("MAC")]);
        assert!(table.is_empty());
        assert_eq!(table.to_string(), "NAME  MAC\n");
    }
}
