//! What goes from one step to the next.

use super::Config;
use crate::ImportError;
use tandem_tensor::{DType, Tensor, TensorError};

/// The keys and values of the positions so far, for the graph that [`Checkpoint::step`](super::Checkpoint::step) makes.
#[derive(Clone, Debug)]
pub struct State {
    position: usize,
    context: usize,
    /// Keys and values of every layer in turn, a row a position.
    past: Vec<Tensor>,
}

impl State {
    /// Before the first step of a graph for `context` positions.
    pub fn new(config: &Config, context: usize) -> State {
        let empty = Tensor::zeros(DType::F32, [context.saturating_sub(1), config.kv_dim()]);
        State { position: 0, context, past: vec![empty; 2 * config.layers] }
    }

    /// Steps that were taken.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The inputs of the step that reads this token; `None` when the context is full.
    pub fn inputs(&self, token: usize) -> Option<Vec<Tensor>> {
        if self.position >= self.context {
            return None;
        }
        let number = |n: usize| Tensor::from_vec([1], vec![i32::try_from(n).ok()?]).ok();
        let mut inputs = vec![number(token)?, number(self.position)?];
        inputs.extend(self.past.iter().cloned());
        Some(inputs)
    }

    /// Takes over the outputs of a step, and gives its logits.
    ///
    /// # Errors
    /// When they are not those of this graph.
    pub fn accept(&mut self, outputs: Vec<Tensor>) -> Result<Vec<f32>, ImportError> {
        let wrong = |problem: String| ImportError::malformed("the outputs of the step", problem);
        let of = |e: TensorError| wrong(e.to_string());
        let (found, expected) = (outputs.len(), self.past.len() + 1);
        let mut outputs = outputs.into_iter();
        let Some(logits) = outputs.next().filter(|_| found == expected) else {
            return Err(wrong(format!("they are {found} and must be {expected}")));
        };
        for (past, row) in self.past.iter_mut().zip(outputs) {
            let row = row.as_slice::<f32>().map_err(of)?;
            let begin = self.position * row.len();
            // The last position of the context has no later one that would read it.
            if self.position + 1 < self.context {
                let places = past.as_slice_mut::<f32>().map_err(of)?.get_mut(begin..begin + row.len());
                places.ok_or_else(|| wrong("a row does not fit".to_owned()))?.copy_from_slice(row);
            }
        }
        self.position += 1;
        Ok(logits.as_slice::<f32>().map_err(of)?.to_vec())
    }
}
