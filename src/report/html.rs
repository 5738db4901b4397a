//! HTML of a page: the document, tables, escaped text and formatted numbers.

/// Style sheet of all pages.
const STYLE: &str = include_str!("style.css");

/// No-break space.
const SPACE: char = '\u{a0}';

/// HTML document with a title and a body; `style` is appended to the common style sheet.
pub(super) fn document(title: &str, style: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{} · fretwork</title>\n<style>\n{STYLE}{style}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n\
         </html>\n",
        escape(title)
    )
}

/// Table of numbers with a caption and column heads; its rows come from [`row`].
pub(super) fn table(caption: &str, columns: &[&str], rows: String) -> String {
    let columns = columns.iter().map(|column| format!("<th scope=\"col\">{column}</th>"));
    format!(
        "<div class=\"card scroll\"><table class=\"numbers\"><caption>{caption}</caption><thead><tr>{}</tr></thead>\
         <tbody>\n{rows}</tbody></table></div>\n",
        columns.collect::<String>()
    )
}

/// Row of a [`table`]: its head and its cells.
pub(super) fn row(name: &str, cells: Vec<String>) -> String {
    let cells = cells.iter().map(|cell| format!("<td>{cell}</td>"));
    format!("<tr><th scope=\"row\">{name}</th>{}</tr>\n", cells.collect::<String>())
}

/// Text with the characters escaped that HTML gives a meaning, in elements and attributes.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// Number with four significant digits.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() || size == 0.0 {
        format!("{value}")
    } else if (1e-4..1e5).contains(&size) {
        let decimals = (3 - size.log10().floor() as i32).clamp(0, 7) as usize;
        format!("{value:.decimals$}")
    } else {
        format!("{value:.3e}")
    }
}

/// Share in percent: one decimal, two below 1 %.
pub(super) fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    match percent.abs() {
        _ if !percent.is_finite() => format!("{share}"),
        size if size == 0.0 || size >= 1.0 => format!("{percent:.1}{SPACE}%"),
        _ => format!("{percent:.2}{SPACE}%"),
    }
}

/// Whole number with commas between thousands.
pub(super) fn count(value: usize) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (value, wanted) in [
            (0.0, "0"),
            (1.0, "1.000"),
            (0.953_25, "0.9533"),
            (1.872_239, "1.872"),
            (0.077_079, "0.07708"),
            (43_210.0, "43210"),
            (1e-9, "1.000e-9"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(number(value), wanted);
        }
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(999), "999");
        assert_eq!(percent(0.1194), "11.9\u{a0}%");
        assert_eq!(percent(0.0005), "0.05\u{a0}%");
    }
}
