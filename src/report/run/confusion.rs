//! Confusion matrix of the last test.

use std::collections::BTreeMap;

use crate::report::{count, escape, percent};
use crate::train::{Confusion, EpochRecord};

/// Names longer than this stand upright above their columns.
const SHORT: usize = 3;

/// The matrix of the last epoch that has one; nothing for a log without.
pub(super) fn section(epochs: &BTreeMap<u64, EpochRecord>) -> String {
    let with_one = |(done, epoch): (&u64, &EpochRecord)| Some((*done, epoch.confusion.clone()?));
    let Some((done, confusion)) = epochs.iter().rev().find_map(with_one) else { return String::new() };
    let Confusion { names, counts } = &*confusion;
    let name = |class: usize| names.get(class).map_or_else(|| class.to_string(), |name| escape(name));
    let columns = counts.iter().map(Vec::len).max().unwrap_or(0);
    let rows = counts.iter().enumerate();
    // The commonest mistake is the darkest.
    let mistakes = rows.clone().flat_map(|(class, row)| {
        shares(row).into_iter().enumerate().filter(move |(other, _)| *other != class)
    });
    let darkest = mistakes.map(|(_, share)| share).fold(0.0, f64::max);
    let body = rows.map(|(class, row)| {
        let cells = row.iter().zip(shares(row)).enumerate().map(|(other, (&rows, share))| {
            let (kind, shade) =
                if other == class { ("hit", share) } else { ("miss", share / darkest.max(1e-9)) };
            let shown = if rows == 0 { String::new() } else { count(rows as usize) };
            let text = if shade > 0.55 { " strong" } else { "" };
            format!("<td class=\"{kind}{text}\" style=\"--shade:{:.0}%\">{shown}</td>", 100.0 * shade)
        });
        let right = row.get(class).map_or(f64::NAN, |_| shares(row)[class]);
        format!(
            "<tr><th scope=\"row\">{}</th>{}<td>{}</td></tr>\n",
            name(class),
            cells.collect::<String>(),
            if right.is_finite() { percent(right) } else { "–".to_owned() }
        )
    });
    let upright = if (0..columns).any(|class| name(class).chars().count() > SHORT) { " upright" } else { "" };
    let heads = (0..columns).map(|class| format!("<th scope=\"col\"><span>{}</span></th>", name(class)));
    format!(
        "<section><h2>Confusion <small>test rows after epoch {done}, by class from top to bottom and by prediction from left to \
         right</small></h2>\n<div class=\"card scroll\"><table class=\"confusion{upright}\"><thead><tr><td></td>{}<th \
         scope=\"col\"><span>right</span></th></tr></thead><tbody>\n{}</tbody></table></div></section>\n",
        heads.collect::<String>(),
        body.collect::<String>()
    )
}

/// Share of a row's counts that each has; NaN in a row without any.
fn shares(row: &[u64]) -> Vec<f64> {
    let all = row.iter().map(|&count| count as f64).sum::<f64>();
    row.iter().map(|&count| count as f64 / all).collect()
}
