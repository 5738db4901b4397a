//! Columns of a table: its header, its label, and which columns hold numbers or categories.

use std::collections::{BTreeMap, HashSet};

use csv::StringRecord;

use super::cell::{Cell, class_name, is_whole};
use super::encoding::{Column, ColumnKind, Target, TargetKind, listed};
use super::file::File;
use super::options::{Label, TableOptions, Task};
use super::standard::Standard;
use crate::{Error, Result};

/// More categories of a column than this are taken for a mistake: an identifier, or numbers with a misprint.
const MOST_CATEGORIES: usize = 256;
/// More classes than this are taken for a mistake: an identifier in the label's column, say.
const MOST_CLASSES: usize = 65_536;
/// Whole numbers are classes without `--task classification` up to this number of different ones,
const FEW: usize = 100;
/// or up to this one where they are more than half of the rows.
const VERY_FEW: usize = 10;
/// Rows that a table without numbers needs below its header for the header to be recognised.
const SHOWING: usize = 5;

/// Columns of a table: names, kinds, and the label.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) header: bool,
    /// Columns without the label; standardisation and shares are not known yet.
    pub(super) columns: Vec<Column>,
    pub(super) target: Target,
    /// Rows below the header.
    pub(super) rows: usize,
    /// Columns in which numbers and words are mixed, in sentences.
    pub(super) notices: Vec<String>,
}

/// Counts of the cells of a column.
#[derive(Debug, Default)]
struct Counts {
    numbers: usize,
    missing: usize,
    words: usize,
    /// Line and text of the first word.
    first_word: Option<(u64, String)>,
    /// Line and text of the first number that is not finite.
    infinite: Option<(u64, String)>,
    /// Line and text of the first number that is not whole.
    decimal: Option<(u64, String)>,
    /// Whether the field of the first row occurs again.
    first_recurs: bool,
}

impl Counts {
    fn add(&mut self, line: u64, field: &str, cell: Cell<'_>) {
        // The first row is counted last, once it is known to be no header.
        let note = |first: &mut Option<(u64, String)>| {
            if first.as_ref().is_none_or(|(at, _)| line < *at) {
                *first = Some((line, field.to_owned()));
            }
        };
        match cell {
            Cell::Missing => self.missing += 1,
            Cell::Number(number) => {
                self.numbers += 1;
                if !is_whole(number) {
                    note(&mut self.decimal);
                }
            }
            Cell::Infinite => note(&mut self.infinite),
            Cell::Word(_) => {
                self.words += 1;
                note(&mut self.first_word);
            }
        }
    }
}

/// Finds out what the columns of a file hold.
///
/// # Errors
/// [`Error::Data`] for a table without rows, features or classes, and for columns that are neither numbers nor categories;
/// [`Error::Config`] for a label that no column has, and labels that are not of the task.
pub(super) fn layout(file: &File<'_>, options: &TableOptions) -> Result<Layout> {
    let mut first: Option<(u64, StringRecord)> = None;
    let (mut counts, mut rows) = (Vec::<Counts>::new(), 0);
    file.each_record(&mut |line, record| {
        let Some((_, first)) = &first else {
            counts.resize_with(record.len(), Counts::default);
            first = Some((line, record.clone()));
            return Ok(());
        };
        rows += 1;
        for ((counts, field), first) in counts.iter_mut().zip(record).zip(first) {
            counts.add(line, field, file.cell(field));
            counts.first_recurs |= field == first;
        }
        Ok(())
    })?;
    let Some((line, first)) = first else { return Err(file.bad_at(1, "there are no rows")) };
    let header = is_header(file, &first, &counts, rows, &options.label);
    if !header {
        rows += 1;
        counts.iter_mut().zip(&first).for_each(|(counts, field)| counts.add(line, field, file.cell(field)));
    }
    if rows == 0 {
        return Err(file.bad_at(line, "there are no rows below the header"));
    }
    if counts.len() < 2 {
        return Err(file.bad_at(line, "features and a label are needed"));
    }
    let names = names(file, header.then_some(&first), counts.len())?;
    let label = label(&options.label, header.then_some(names.as_slice()), counts.len(), file)?;
    let mut notices = Vec::new();
    let texts = texts(file, header, label, &counts)?;
    let mut columns = Vec::new();
    for (place, (counts, name)) in counts.iter().zip(&names).enumerate() {
        if place != label {
            let kind = kind(file, name, counts, &texts[place], &mut notices)?;
            columns.push(Column { name: name.clone(), kind });
        }
    }
    let kind = target(file, &names[label], &counts[label], &texts[label], options.task)?;
    let target = Target { name: names[label].clone(), place: label, kind };
    Ok(Layout { header, columns, target, rows, notices })
}

/// Whether the first row is a header. A row is one that names the label; or that has no number, and the rows below show it: a
/// column has a word in the first row and numbers alone below, or, in a table of words alone, no field occurs again in its column.
fn is_header(file: &File<'_>, first: &StringRecord, counts: &[Counts], rows: usize, label: &Label) -> bool {
    let cells = || first.iter().map(|field| file.cell(field));
    let is_word = |cell| matches!(cell, Cell::Word(_));
    let names_label = match label {
        Label::Name(name) => first.iter().any(|field| field == name),
        _ => Label::usual(first.iter()).is_some_and(|place| !counts[place].first_recurs),
    };
    let has_number = cells().any(|cell| matches!(cell, Cell::Number(_) | Cell::Infinite));
    let numbers_below =
        cells().zip(counts).any(|(cell, below)| is_word(cell) && below.numbers > 0 && below.words == 0);
    let words_alone = counts.iter().all(|below| below.numbers == 0 && !below.first_recurs)
        && cells().all(is_word)
        && rows >= SHOWING;
    names_label || (!has_number && (numbers_below || words_alone))
}

/// Names of the columns: the header's, each once; `column 3` where there is none.
fn names(file: &File<'_>, header: Option<&StringRecord>, width: usize) -> Result<Vec<String>> {
    let mut names: Vec<String> = (1..=width).map(|place| format!("column {place}")).collect();
    let given = header.into_iter().flat_map(StringRecord::iter);
    names.iter_mut().zip(given).filter(|(_, given)| !given.is_empty()).for_each(|(name, given)| {
        given.clone_into(name);
    });
    let mut seen = HashSet::new();
    match names.iter().find(|name| !seen.insert(name.as_str())) {
        Some(twice) => Err(file.bad(format!("two columns are named {twice:?}; give them different names"))),
        None => Ok(names),
    }
}

/// Place of the label.
fn label(label: &Label, header: Option<&[String]>, width: usize, file: &File<'_>) -> Result<usize> {
    let bad = |reason: String| Err(Error::Config { option: "label", reason });
    let usual = || Label::usual(header.unwrap_or_default().iter().map(String::as_str));
    match label {
        Label::First => Ok(0),
        Label::Last => Ok(width - 1),
        Label::Auto => Ok(usual().unwrap_or(width - 1)),
        Label::Place(place) if (1..=width).contains(place) => Ok(place - 1),
        Label::Place(place) => {
            bad(format!("{place} is no column of {}, which has {width}", file.path.display()))
        }
        Label::Name(name) => {
            let place = header.unwrap_or_default().iter().position(|other| other == name);
            place.map_or_else(
                || {
                    let found = match header {
                        Some(names) => format!("has the columns {}", listed(names)),
                        None => "has no header; give the column's number".to_owned(),
                    };
                    bad(format!("no column is named {name:?}: {} {found}", file.path.display()))
                },
                Ok,
            )
        }
    }
}

/// Different texts of each column that holds words, and different class names of the label with the rows of each, up to one more
/// than allowed.
fn texts(
    file: &File<'_>,
    header: bool,
    label: usize,
    counts: &[Counts],
) -> Result<Vec<BTreeMap<String, usize>>> {
    let mut texts = vec![BTreeMap::<String, usize>::new(); counts.len()];
    let counted: Vec<usize> =
        (0..counts.len()).filter(|&place| place == label || counts[place].words > 0).collect();
    let mut skip = header;
    file.each_record(&mut |_, record| {
        if std::mem::take(&mut skip) {
            return Ok(());
        }
        for &place in &counted {
            let field = &record[place];
            if file.cell(field) == Cell::Missing {
                continue;
            }
            let (name, most) = match place == label {
                true => (class_name(field, file.decimal_comma), MOST_CLASSES),
                false => (field.to_owned(), MOST_CATEGORIES),
            };
            let texts = &mut texts[place];
            if texts.len() <= most {
                *texts.entry(name).or_default() += 1;
            }
        }
        Ok(())
    })?;
    Ok(texts)
}

/// Kind of a column that is no label.
fn kind(
    file: &File<'_>,
    name: &str,
    counts: &Counts,
    texts: &BTreeMap<String, usize>,
    notices: &mut Vec<String>,
) -> Result<ColumnKind> {
    let Counts { numbers, words, .. } = *counts;
    if numbers + words == 0 && counts.infinite.is_none() {
        return Err(file.bad(format!("column {name:?} has no values; remove it")));
    }
    let Some((line, word)) = &counts.first_word else {
        return match &counts.infinite {
            Some((line, field)) => {
                Err(file.bad_at(*line, &format!("column {name:?}: {field:?} is not a finite number")))
            }
            None => Ok(ColumnKind::Number(Standard::default())),
        };
    };
    let mixed = match numbers {
        0 => String::new(),
        _ => format!("; it is no column of numbers, because line {line} has {word:?}"),
    };
    if texts.len() > MOST_CATEGORIES {
        let reason = format!(
            "column {name:?} has more than {MOST_CATEGORIES} categories{mixed}; remove or correct it"
        );
        return Err(file.bad(reason));
    }
    if texts.len() > 16 && 2 * texts.len() > numbers + words {
        let reason = format!(
            "column {name:?} has {} categories in {} rows, more than one for two rows, as an identifier has{mixed}; remove or \
             correct it",
            texts.len(),
            numbers + words
        );
        return Err(file.bad(reason));
    }
    if numbers > 0 {
        notices.push(format!(
            "column {name:?} has {numbers} numbers and {words} words, the first of them {word:?} on line {line}: each of its {} \
             different values is a category",
            texts.len()
        ));
    }
    Ok(ColumnKind::Categories { names: texts.keys().cloned().collect(), shares: Vec::new() })
}

/// Kind of the target: classes are words or few whole numbers unless a task is given.
fn target(
    file: &File<'_>,
    name: &str,
    counts: &Counts,
    texts: &BTreeMap<String, usize>,
    task: Option<Task>,
) -> Result<TargetKind> {
    let refuse = |reason: String| Err(Error::Config { option: "task", reason });
    if let Some((line, field)) = &counts.infinite {
        return Err(file.bad_at(*line, &format!("label {name:?}: {field:?} is not a finite number")));
    }
    if task == Some(Task::Regression) {
        return match &counts.first_word {
            Some((line, word)) => refuse(format!(
                "a regression is of numbers, but the label {name:?} has {word:?} on line {line} of {}",
                file.path.display()
            )),
            None => Ok(TargetKind::Values(Standard::default())),
        };
    }
    if let (Some((line, number)), 0) = (&counts.decimal, counts.words) {
        return refuse(format!(
            "the label {name:?} has the number {number} on line {line} of {}, which is no class; give --task regression to \
             predict numbers, or --label for another column",
            file.path.display()
        ));
    }
    let (classes, rows) = (texts.len(), counts.numbers + counts.words);
    if classes > MOST_CLASSES {
        return refuse(format!("the label {name:?} has more than {MOST_CLASSES} classes"));
    }
    let few = classes <= VERY_FEW || (classes <= FEW && 2 * classes <= rows);
    if task.is_none() && !few {
        let hint = match counts.words {
            0 => "give --task regression to predict numbers, --task classification for so many classes",
            _ => "give --task classification for so many classes",
        };
        return refuse(format!(
            "the label {name:?} has {classes} different values in {rows} rows; {hint}, or --label for another column"
        ));
    }
    let mut names: Vec<String> = texts.keys().cloned().collect();
    if counts.words == 0 {
        // In the order of the numbers, which is not that of their digits.
        names.sort_by(|a, b| number(a).total_cmp(&number(b)));
    }
    Ok(TargetKind::Classes(names))
}

fn number(name: &str) -> f64 {
    name.parse().unwrap_or(f64::NAN)
}
