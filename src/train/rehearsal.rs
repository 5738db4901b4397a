//! Rehearsal: classes come in tasks, one task after the other, and some rows of earlier tasks are kept and seen again.
//!
//! Experience replay with a reservoir (Vitter 1985; Chaudhry et al., "On tiny episodic memories in continual learning", 2019).

use super::{Length, Settings, Trainer};
use crate::data::{Dataset, Rows, Targets, epoch_order};
use crate::nn::ModelConfig;
use crate::random::{Key, Stream};
use crate::{Error, Result};

/// Tasks that a run learns one after the other: each has some of the classes and equally many epochs. One task is the plain run.
///
/// The output has all classes from the beginning, and a test row may be taken for any of them: the tasks are class-incremental.
///
/// ```
/// use fretwork::prelude::*;
/// use fretwork::train::Tasks;
///
/// # fn main() -> fretwork::Result<()> {
/// let gpu = Gpu::request(Options::default())?;
/// let net = Sequential::new().add(Linear::new(64, 64).relu()).add(Linear::new(64, 10));
/// let mut trainer = Trainer::builder(&gpu, net)
///     .data(Dataset::load(&Source::Digits, 1, 0)?)
///     .tasks(Tasks { count: 5, buffer: 200 })
///     .epochs(5)
///     .build()?;
/// let summary = trainer.run(None, &mut |_| Flow::Continue)?;
/// // Accuracy on the test rows of the digits 0 and 1, which were learned first.
/// assert!(summary.tasks.is_some_and(|tasks| tasks.accuracy[0] > 0.5));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Tasks {
    /// Number of tasks. Class `c` of `C` is of task `c * count / C`, rounded down.
    pub count: usize,
    /// Most rows of earlier tasks that are kept. While there are any, every second row of a batch is one of them.
    pub buffer: usize,
}

impl Tasks {
    /// Task of a class.
    fn of(self, class: usize, classes: usize) -> usize {
        class * self.count / classes
    }

    /// Refuses tasks that settings don't allow for.
    pub(super) fn validate(self, settings: &Settings) -> Result<()> {
        let bad = |option, reason: String| Err(Error::Config { option, reason });
        let Self { count, buffer } = self;
        match settings.length {
            _ if count == 0 => return bad("tasks", "0 tasks teach nothing".to_owned()),
            Length::Steps(_) => {
                let reason = "a run of tasks has whole epochs; give their number instead".to_owned();
                return bad("steps", reason);
            }
            Length::Epochs(epochs) if !epochs.is_multiple_of(count as u64) => {
                let reason =
                    format!("{epochs} epochs can't be shared out among {count} tasks, equally many each");
                return bad("epochs", reason);
            }
            Length::Epochs(_) => {}
        }
        if count == 1 && buffer > 0 {
            return bad("buffer", format!("{buffer} rows of earlier tasks, but there is one task"));
        }
        if settings.epoch_steps.is_some() {
            let reason =
                "in a run of tasks an epoch has as many rows as there are, whatever their task".to_owned();
            return bad("epoch-steps", reason);
        }
        if settings.validation.as_ref().is_some_and(|validation| validation.patience.is_some()) {
            let reason = "a run of tasks does not end before its last task".to_owned();
            return bad("patience", reason);
        }
        match &settings.model {
            ModelConfig::Mlps(_) => {
                bad("tasks", "networks that are trained together share their rows".to_owned())
            }
            ModelConfig::Lm(_) => bad("tasks", "a text has no classes to share out".to_owned()),
            ModelConfig::Composed(net) if net.rows().is_some() => {
                bad("tasks", "the network reads all rows together, whatever their class".to_owned())
            }
            ModelConfig::Mlp(_) | ModelConfig::Composed(_) => Ok(()),
        }
    }
}

/// Accuracies of a run of tasks.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TaskScores {
    /// The task that was learned last, from 0.
    pub task: usize,
    /// Accuracy on the test rows of each task, those of later ones among them.
    pub accuracy: Vec<f64>,
}

/// Rows of the tasks, and those that are kept.
#[derive(Debug)]
pub(super) struct Rehearsal {
    tasks: Tasks,
    /// Training rows of each task.
    rows: Vec<Vec<u32>>,
    /// Rows of earlier tasks that are there when a task begins.
    buffers: Vec<Vec<u32>>,
}

impl Rehearsal {
    /// Shares out the rows of a run; `None` for a run without tasks.
    ///
    /// # Errors
    /// [`Error::Config`] for rows without classes, a task without rows, and a buffer that is larger than the data.
    pub(super) fn new(settings: &Settings, data: &Dataset) -> Result<Option<Self>> {
        let Some(tasks) = settings.tasks else { return Ok(None) };
        let bad = |option, reason: String| Err(Error::Config { option, reason });
        let (Rows::Table(train), Rows::Table(test), Targets::Classes(classes)) =
            (&data.train, &data.test, data.targets())
        else {
            return bad("tasks", format!("{} has no rows with a class each", data.name));
        };
        let Tasks { count, buffer } = tasks;
        if count > classes {
            return bad("tasks", format!("{count} tasks of {classes} classes leave one empty"));
        }
        if buffer > train.rows() {
            let reason = format!("{buffer} rows, but {} has {} to train on", data.name, train.rows());
            return bad("buffer", reason);
        }
        let share = |labels: &[u32], part: &str| {
            let mut rows = vec![Vec::new(); count];
            for (row, &class) in labels.iter().enumerate() {
                rows[tasks.of(class as usize, classes)].push(row as u32);
            }
            match rows.iter().position(Vec::is_empty) {
                Some(empty) => {
                    let has = (0..classes).filter(|&class| tasks.of(class, classes) == empty);
                    let names: Vec<_> = has.map(|class| data.class_name(class)).collect();
                    let reason = format!(
                        "task {empty} has the classes {}, and {} has no {part} row of them",
                        names.join(", "),
                        data.name
                    );
                    Err(Error::Config { option: "tasks", reason })
                }
                None => Ok(rows),
            }
        };
        share(test.labels(), "test")?;
        let mut rehearsal = Self { tasks, rows: share(train.labels(), "training")?, buffers: Vec::new() };
        rehearsal.fill_buffers(settings);
        Ok(Some(rehearsal))
    }

    /// Epochs of each task.
    fn epochs(&self, settings: &Settings) -> u64 {
        match settings.length {
            Length::Epochs(epochs) => epochs / self.tasks.count as u64,
            Length::Steps(_) => 0,
        }
    }

    /// Fills the reservoir with rows as they come: of `n` rows so far each is in it with equal chances, and none that it has passed
    /// over comes back.
    fn fill_buffers(&mut self, settings: &Settings) {
        let mut walk = Key::new(settings.rows_seed(), Stream::Rehearsal).walk();
        let (mut buffer, mut seen) = (Vec::new(), 0u32);
        for task in 0..self.tasks.count {
            self.buffers.push(buffer.clone());
            for row in self.pass(settings, task, task as u64 * self.epochs(settings), 0) {
                seen += 1;
                if buffer.len() < self.tasks.buffer {
                    buffer.push(row);
                } else if let Some(place) = buffer.get_mut(walk.below(seen) as usize) {
                    *place = row;
                }
            }
        }
    }

    /// Rows of a task in a pass of an epoch. The first pass of a run of one task is that of a plain run.
    fn pass(&self, settings: &Settings, task: usize, epoch: u64, pass: u64) -> impl Iterator<Item = u32> {
        let rows = &self.rows[task];
        let order = epoch_order(rows.len(), settings.rows_seed(), epoch + (pass << 32));
        order.into_iter().map(|place| rows[place as usize])
    }

    /// Order of the rows in an epoch: as many as there are training rows, of the epoch's task in passes one after the other, and every
    /// second one drawn from the buffer where that has any.
    fn order(&self, settings: &Settings, epoch: u64) -> Vec<u32> {
        let task = (epoch / self.epochs(settings).max(1)).min(self.tasks.count as u64 - 1) as usize;
        let mut own = (0..).flat_map(|pass| self.pass(settings, task, epoch, pass));
        let buffer = &self.buffers[task];
        let key = Key::new(settings.rows_seed(), Stream::Rehearsal).at([epoch as u32, 1]);
        let mut walk = Key(key).walk();
        let all = self.rows.iter().map(Vec::len).sum();
        let row = |place: usize| match buffer.is_empty() || place.is_multiple_of(2) {
            true => own.next(),
            false => Some(buffer[walk.below(buffer.len() as u32) as usize]),
        };
        (0..all).map_while(row).collect()
    }
}

impl Trainer {
    /// Order of the training rows in an epoch.
    pub(super) fn epoch_order(&self, epoch: u64) -> Vec<u32> {
        match &self.rehearsal {
            Some(rehearsal) => rehearsal.order(&self.settings, epoch),
            None => self.settings.epoch_order(self.data.train.rows(), epoch),
        }
    }

    /// Accuracy on the test rows of each task, in a run of tasks that is in this epoch. Waits for the device.
    pub(super) fn task_scores(&mut self, epoch: u64) -> Result<Option<TaskScores>> {
        let Some(Rehearsal { tasks, .. }) = self.rehearsal else { return Ok(None) };
        let epochs = self.rehearsal.as_ref().map_or(1, |rehearsal| rehearsal.epochs(&self.settings));
        let Some(counts) = self.count_classes()? else { return Ok(None) };
        let [mut right, mut rows] = [vec![0; tasks.count], vec![0; tasks.count]];
        for (class, of) in counts.iter().enumerate() {
            let task = tasks.of(class, counts.len());
            right[task] += of[class];
            rows[task] += of.iter().sum::<u64>();
        }
        let accuracy = right.into_iter().zip(rows).map(|(right, rows)| right as f64 / rows as f64);
        Ok(Some(TaskScores { task: (epoch / epochs) as usize, accuracy: accuracy.collect() }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::data::{Features, Table};
    use crate::nn::MlpConfig;
    use crate::ops::Activation;
    use crate::sparse::Density;

    /// 120 rows of six classes, ten epochs or as many as are given.
    fn data() -> Dataset {
        let table = || {
            let labels = (0..120).map(|row| row % 6).collect();
            Table::new(Features::Floats(vec![0.0; 120]), labels, 1).unwrap()
        };
        Dataset::of_tables("made up", table(), table(), 6)
    }

    fn settings(count: usize, buffer: usize, epochs: u64) -> Settings {
        Settings {
            tasks: Some(Tasks { count, buffer }),
            length: Length::Epochs(epochs),
            ..Settings::new(MlpConfig {
                inputs: 1,
                hidden: vec![16],
                classes: 6,
                block: 16,
                sparsity: None,
                density: Density::Erk,
                activation: Activation::Relu,
                dropout: 0.0,
                seed: 3,
                layers: Default::default(),
                local: None,
            })
        }
    }

    fn refusal(settings: &Settings, data: &Dataset) -> String {
        let refused = settings.validate().and_then(|()| Rehearsal::new(settings, data).map(|_| ()));
        refused.unwrap_err().to_string()
    }

    #[test]
    fn a_reservoir_keeps_rows_that_came_and_none_that_it_passed_over() {
        let settings = settings(3, 25, 6);
        let rehearsal = Rehearsal::new(&settings, &data()).unwrap().unwrap();
        assert!(rehearsal.buffers[0].is_empty());
        for task in 1..3 {
            let [before, now] =
                [task - 1, task].map(|task| rehearsal.buffers[task].iter().copied().collect::<BTreeSet<_>>());
            assert_eq!(now.len(), 25, "no row is there twice");
            let came: BTreeSet<_> = before.iter().chain(&rehearsal.rows[task - 1]).copied().collect();
            assert!(now.is_subset(&came), "a row came back");
        }
        // A buffer that all fit in has them all.
        let whole = Rehearsal::new(&self::settings(3, 100, 6), &data()).unwrap().unwrap();
        assert_eq!(whole.buffers[2].len(), 80);
    }

    /// Over 400 seeds, each of 80 rows is kept 10 of 80 times: 50 times, with a deviation of 6.6 by the binomial law.
    #[test]
    fn a_reservoir_favours_no_row() {
        let mut kept = [0u32; 120];
        for seed in 0..400 {
            let settings = Settings { rows_seed: Some(seed), ..settings(3, 10, 3) };
            let rehearsal = Rehearsal::new(&settings, &data()).unwrap().unwrap();
            rehearsal.buffers[2].iter().for_each(|&row| kept[row as usize] += 1);
        }
        let (earlier, last): (Vec<_>, Vec<_>) = (0..120).partition(|row| row % 6 < 4);
        assert!(earlier.iter().all(|&row: &usize| kept[row].abs_diff(50) < 33), "{kept:?}");
        assert!(last.iter().all(|&row| kept[row] == 0));
        let sums: Vec<u32> =
            [0, 1, 2, 3].map(|class| (0..20).map(|row| kept[6 * row + class]).sum()).to_vec();
        // A thousand of each class: the first ones are not forgotten, nor the last ones favoured.
        assert!(sums.iter().all(|sum| sum.abs_diff(1000) < 130), "{sums:?}");
    }

    #[test]
    fn every_second_row_is_of_an_earlier_task() {
        let settings = settings(3, 10, 6);
        let rehearsal = Rehearsal::new(&settings, &data()).unwrap().unwrap();
        for epoch in 0..6 {
            let (order, task) = (rehearsal.order(&settings, epoch), epoch as usize / 2);
            assert_eq!(order.len(), 120);
            let task_of = |row: u32| row as usize % 6 / 2;
            for (place, &row) in order.iter().enumerate() {
                let old = place % 2 == 1 && task > 0;
                assert_eq!(task_of(row) != task, old, "epoch {epoch}, place {place}");
                assert!(!old || rehearsal.buffers[task].contains(&row));
            }
            // Passes go over all rows of the task before any comes again.
            let own: Vec<_> = order.iter().filter(|&&row| task_of(row) == task).collect();
            assert_eq!(own[..40].iter().collect::<BTreeSet<_>>().len(), 40);
        }
        assert_ne!(rehearsal.order(&settings, 2), rehearsal.order(&settings, 3));
    }

    #[test]
    fn one_task_has_the_order_of_a_plain_run() {
        let settings = settings(1, 0, 6);
        let rehearsal = Rehearsal::new(&settings, &data()).unwrap().unwrap();
        for epoch in 0..6 {
            assert_eq!(rehearsal.order(&settings, epoch), settings.epoch_order(120, epoch));
        }
    }

    #[test]
    fn the_rate_begins_anew_with_each_task() {
        let (tasks, plain) = (settings(3, 0, 6), Settings { tasks: None, ..settings(1, 0, 2) });
        for step in 0..6 {
            assert_eq!(tasks.learning_rate_at(step, 6), plain.learning_rate_at(step % 2, 2));
        }
    }

    #[test]
    fn what_cannot_be_shared_out_is_refused_by_name() {
        let (data, good) = (data(), || settings(3, 10, 6));
        for (settings, wanted) in [
            (settings(0, 0, 6), "tasks: 0 tasks teach nothing"),
            (settings(7, 0, 7), "tasks: 7 tasks of 6 classes leave one empty"),
            (settings(3, 121, 6), "buffer: 121 rows, but made up has 120 to train on"),
            (settings(1, 5, 6), "buffer: 5 rows of earlier tasks, but there is one task"),
            (settings(3, 0, 7), "epochs: 7 epochs can't be shared out among 3 tasks"),
            (Settings { length: Length::Steps(6), ..good() }, "steps: a run of tasks has whole epochs"),
            (Settings { epoch_steps: Some(1), ..good() }, "epoch-steps: in a run of tasks"),
        ] {
            let refused = refusal(&settings, &data);
            assert!(refused.contains(wanted), "{refused}");
        }
        let mut numbers = self::data();
        numbers.train = Table::with_values(Features::Floats(vec![0.0; 4]), vec![0.0; 4], 1).unwrap().into();
        assert!(refusal(&good(), &numbers).contains("tasks: made up has no rows with a class each"));
        let mut few = self::data();
        few.test = Table::new(Features::Floats(vec![0.0; 4]), vec![0, 1, 4, 5], 1).unwrap().into();
        assert!(
            refusal(&good(), &few)
                .contains("task 1 has the classes 2, 3, and made up has no test row of them")
        );
    }
}
