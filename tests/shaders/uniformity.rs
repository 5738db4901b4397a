//! Uniformity lint: no barrier and no subgroup operation in non-uniform control flow.
//!
//! naga lets such barriers pass, and treats every local variable as non-uniform. This analysis is finer: a local
//! variable is uniform as long as every value stored to it is uniform and stored in uniform control flow. It iterates
//! to a fixed point.
//!
//! Arguments of a function may be uniform in one call and not in another; each call is analysed with its arguments.

use std::collections::HashSet;

use naga::{
    AddressSpace, BinaryOperator, Block, BuiltIn, Expression, Function, Handle, LocalVariable, Module,
    Statement, StorageAccess,
};

/// Fails if a barrier or subgroup operation is in non-uniform control flow.
pub(crate) fn lint(module: &Module) -> Result<(), String> {
    for entry in &module.entry_points {
        let uniform_arguments = entry
            .function
            .arguments
            .iter()
            .map(|argument| {
                matches!(
                    argument.binding,
                    Some(naga::Binding::BuiltIn(BuiltIn::WorkGroupId | BuiltIn::NumWorkGroups))
                )
            })
            .collect();
        Flow::analyse(module, &entry.function, uniform_arguments, true)?;
    }
    Ok(())
}

const MATRIX: &str = "a matrix that some invocations may not work on";

struct Flow<'m> {
    module: &'m Module,
    function: &'m Function,
    uniform_arguments: Vec<bool>,
    /// Local variables found non-uniform.
    varying: HashSet<Handle<LocalVariable>>,
    /// Non-uniform call results.
    varying_calls: HashSet<Handle<Expression>>,
    returns_uniform: bool,
}

/// State of control flow after the statements so far.
#[derive(Clone, Copy, PartialEq)]
struct State {
    /// Control flow is uniform.
    together: bool,
}

/// Ways in which only some invocations may leave a block.
#[derive(Default, Clone, Copy)]
struct Left {
    /// By `break` or `continue` of the enclosing loop.
    turn: bool,
    /// By `return`.
    function: bool,
}

impl<'m> Flow<'m> {
    /// Analyses a function; returns whether its result is uniform.
    fn analyse(
        module: &'m Module,
        function: &'m Function,
        uniform_arguments: Vec<bool>,
        together: bool,
    ) -> Result<bool, String> {
        let mut flow = Flow {
            module,
            function,
            uniform_arguments,
            varying: HashSet::new(),
            varying_calls: HashSet::new(),
            returns_uniform: true,
        };
        // Iterates to a fixed point. Barriers are judged in the last iteration, when all non-uniform variables are
        // known.
        loop {
            let known = (flow.varying.len(), flow.varying_calls.len());
            let verdict = flow.block(&function.body, &mut State { together });
            if known == (flow.varying.len(), flow.varying_calls.len()) {
                return verdict.map(|_| flow.returns_uniform);
            }
        }
    }

    fn block(&mut self, block: &Block, state: &mut State) -> Result<Left, String> {
        let mut left = Left::default();
        for statement in block {
            let here = self.statement(statement, state)?;
            left.turn |= here.turn;
            left.function |= here.function;
            // After a partial exit, control flow is non-uniform.
            if here.turn || here.function {
                state.together = false;
            }
        }
        Ok(left)
    }

    fn statement(&mut self, statement: &Statement, state: &mut State) -> Result<Left, String> {
        let mut left = Left::default();
        match statement {
            Statement::ControlBarrier(_) | Statement::WorkGroupUniformLoad { .. } if !state.together => {
                return Err("a barrier that some invocations may not reach".to_owned());
            }
            Statement::SubgroupGather { .. }
            | Statement::SubgroupBallot { .. }
            | Statement::SubgroupCollectiveOperation { .. }
                if !state.together =>
            {
                return Err("an operation of a subgroup that some invocations may miss".to_owned());
            }
            Statement::CooperativeStore { .. } if !state.together => return Err(MATRIX.to_owned()),
            Statement::Emit(range) if !state.together && self.has_matrix(range) => {
                return Err(MATRIX.to_owned());
            }
            Statement::Block(inner) => left = self.block(inner, state)?,
            Statement::If { condition, accept, reject } => {
                let inside = state.together && self.uniform(*condition);
                for branch in [accept, reject] {
                    let branch_left = self.block(branch, &mut State { together: inside })?;
                    // An exit under a uniform condition is taken by all invocations.
                    left.turn |= branch_left.turn || (!inside && leaves_turn(branch));
                    left.function |= branch_left.function || (!inside && leaves_function(branch));
                }
            }
            Statement::Switch { selector, cases } => {
                let inside = state.together && self.uniform(*selector);
                for case in cases {
                    let case_left = self.block(&case.body, &mut State { together: inside })?;
                    left.turn |= case_left.turn;
                    left.function |= case_left.function || (!inside && leaves_function(&case.body));
                }
            }
            Statement::Loop { body, continuing, break_if } => {
                let mut inside = *state;
                let body_left = self.block(body, &mut inside)?;
                let more_left = self.block(continuing, &mut inside)?;
                let uneven = body_left.turn
                    || more_left.turn
                    || break_if.is_some_and(|condition| !self.uniform(condition));
                if uneven {
                    // Iteration counts differ: control flow in the loop is non-uniform.
                    self.block(body, &mut State { together: false })?;
                    self.block(continuing, &mut State { together: false })?;
                }
                left.function = body_left.function || more_left.function;
            }
            Statement::Store { pointer, value }
                if (!state.together || !self.uniform(*value) || !self.uniform_place(*pointer)) =>
            {
                self.mark(*pointer);
            }
            Statement::Call { function, arguments, result } => {
                let given: Vec<bool> = arguments.iter().map(|&argument| self.uniform(argument)).collect();
                for &argument in arguments {
                    // Stores through pointers are not tracked, so their target counts as non-uniform.
                    self.mark(argument);
                }
                let callee = &self.module.functions[*function];
                let uniform = Flow::analyse(self.module, callee, given, state.together)
                    .map_err(|why| format!("{why}, in {}", callee.name.as_deref().unwrap_or("?")))?;
                if let (Some(result), false) = (result, uniform) {
                    self.varying_calls.insert(*result);
                }
            }
            Statement::Return { value }
                if (!state.together || value.is_some_and(|value| !self.uniform(value))) =>
            {
                self.returns_uniform = false;
            }
            _ => {}
        }
        Ok(left)
    }

    /// Whether the expressions load or multiply cooperative matrices.
    fn has_matrix(&self, range: &naga::Range<Expression>) -> bool {
        range.clone().any(|expression| {
            matches!(
                self.function.expressions[expression],
                Expression::CooperativeLoad { .. } | Expression::CooperativeMultiplyAdd { .. }
            )
        })
    }

    /// Marks the local variable behind a pointer as non-uniform.
    fn mark(&mut self, pointer: Handle<Expression>) {
        match self.function.expressions[pointer] {
            Expression::LocalVariable(local) => {
                self.varying.insert(local);
            }
            Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => self.mark(base),
            _ => {}
        }
    }

    /// Whether a pointer's address is uniform.
    fn uniform_place(&self, pointer: Handle<Expression>) -> bool {
        match self.function.expressions[pointer] {
            Expression::Access { base, index } => self.uniform_place(base) && self.uniform(index),
            Expression::AccessIndex { base, .. } => self.uniform_place(base),
            _ => true,
        }
    }

    /// Whether an expression is uniform over the workgroup.
    fn uniform(&self, expression: Handle<Expression>) -> bool {
        use Expression as E;
        match self.function.expressions[expression] {
            E::Literal(_) | E::Constant(_) | E::Override(_) | E::ZeroValue(_) | E::ArrayLength(_) => true,
            E::FunctionArgument(index) => self.uniform_arguments[index as usize],
            E::GlobalVariable(_) => true,
            E::LocalVariable(local) => !self.varying.contains(&local),
            E::Load { pointer } => self.uniform_load(pointer),
            E::CallResult(_) => !self.varying_calls.contains(&expression),
            E::WorkGroupUniformLoadResult { .. } => true,
            E::Access { base, index } => self.uniform(base) && self.uniform(index),
            E::AccessIndex { base, .. } => self.uniform(base),
            E::Splat { value, .. } => self.uniform(value),
            E::Swizzle { vector, .. } => self.uniform(vector),
            E::Compose { ref components, .. } => components.iter().all(|&part| self.uniform(part)),
            E::Unary { expr, .. } | E::As { expr, .. } | E::Relational { argument: expr, .. } => {
                self.uniform(expr)
            }
            E::Binary { op: BinaryOperator::LogicalAnd | BinaryOperator::LogicalOr, left, right }
            | E::Binary { left, right, .. } => self.uniform(left) && self.uniform(right),
            E::Select { condition, accept, reject } => {
                [condition, accept, reject].into_iter().all(|part| self.uniform(part))
            }
            E::Math { arg, arg1, arg2, arg3, .. } => {
                [Some(arg), arg1, arg2, arg3].into_iter().flatten().all(|part| self.uniform(part))
            }
            _ => false,
        }
    }

    /// Whether a load through a pointer is uniform.
    fn uniform_load(&self, pointer: Handle<Expression>) -> bool {
        match self.function.expressions[pointer] {
            Expression::Access { base, index } => self.uniform_load(base) && self.uniform(index),
            Expression::AccessIndex { base, .. } => self.uniform_load(base),
            Expression::LocalVariable(local) => !self.varying.contains(&local),
            Expression::FunctionArgument(index) => self.uniform_arguments[index as usize],
            Expression::GlobalVariable(global) => match self.module.global_variables[global].space {
                AddressSpace::Uniform => true,
                AddressSpace::Storage { access } => !access.contains(StorageAccess::STORE),
                _ => false,
            },
            _ => false,
        }
    }
}

fn leaves_turn(block: &Block) -> bool {
    block.iter().any(|statement| match statement {
        Statement::Break | Statement::Continue => true,
        Statement::Block(inner) => leaves_turn(inner),
        Statement::If { accept, reject, .. } => leaves_turn(accept) || leaves_turn(reject),
        _ => false,
    })
}

fn leaves_function(block: &Block) -> bool {
    block.iter().any(|statement| match statement {
        Statement::Return { .. } | Statement::Kill => true,
        Statement::Block(inner) => leaves_function(inner),
        Statement::If { accept, reject, .. } => leaves_function(accept) || leaves_function(reject),
        Statement::Switch { cases, .. } => cases.iter().any(|case| leaves_function(&case.body)),
        Statement::Loop { body, continuing, .. } => leaves_function(body) || leaves_function(continuing),
        _ => false,
    })
}

mod tests {
    use crate::lint::validate;

    /// Lints a shader whose body may use `l` (non-uniform), `w` (uniform), `n` (a uniform buffer) and `t` (read-only
    /// storage).
    fn verdict(items: &str, body: &str) -> Result<(), String> {
        let wgsl = format!(
            "@group(0) @binding(0) var<uniform> n: vec4<u32>;
             @group(0) @binding(1) var<storage, read> t: array<u32>;
             @group(0) @binding(2) var<storage, read_write> rw: array<u32>;
             {items}
             @compute @workgroup_size(8) fn main(@builtin(local_invocation_index) l: u32,
                 @builtin(workgroup_id) id: vec3<u32>) {{ let w = id.x; rw[l] = t[w] + n.x; {body} }}"
        );
        let (module, _) = validate(&wgsl, true)?;
        super::lint(&module)
    }

    #[test]
    fn barriers_that_all_reach_pass() {
        for body in [
            "workgroupBarrier();",
            "if w < 4u { workgroupBarrier(); }",
            "if w < 4u || all(vec2<u32>(t[w]) == n.xy) { workgroupBarrier(); }",
            "if w >= n.x { return; } workgroupBarrier();",
            "for (var i = 0u; i < n.x; i++) { workgroupBarrier(); }",
            "for (var i = t[w]; i < t[w + 1u]; i++) { workgroupBarrier(); }",
            "for (var i = 0u; i < 4u; i++) { for (var j = l; j < 9u; j += 8u) { rw[j] = i; } workgroupBarrier(); }",
            "var a = w; a += 1u; if a > 3u { workgroupBarrier(); }",
            "for (var i = 0u; i < n.x; i++) { if i > n.y { break; } workgroupBarrier(); }",
            "if w < 4u { rw[l] = subgroupBroadcast(l, 0u) + quadSwapX(l); }",
        ] {
            assert_eq!(verdict("", body), Ok(()), "{body}");
        }
        assert_eq!(
            verdict("fn f(a: u32) -> u32 { return t[a]; }", "if f(w) > 1u { workgroupBarrier(); }"),
            Ok(())
        );
        assert_eq!(verdict("fn f() { workgroupBarrier(); }", "if w > 1u { f(); }"), Ok(()));
    }

    #[test]
    fn barriers_that_some_miss_do_not() {
        for body in [
            "if l < 4u { workgroupBarrier(); }",
            "if w < 4u || any(vec2<u32>(w, l) == n.xy) { workgroupBarrier(); }",
            "if l > 3u { return; } workgroupBarrier();",
            "for (var i = 0u; i < l; i++) { workgroupBarrier(); }",
            "for (var i = 0u; i < t[l]; i++) { workgroupBarrier(); }",
            "for (var i = 0u; i < rw[0]; i++) { workgroupBarrier(); }",
            "var a = w; if l > 2u { a = 7u; } if a > 3u { workgroupBarrier(); }",
            "for (var i = 0u; i < n.x; i++) { if i > l { break; } workgroupBarrier(); }",
            "for (var i = 0u; i < n.x; i++) { if i > l { continue; } workgroupBarrier(); }",
            "for (var i = 0u; i < n.x; i++) { workgroupBarrier(); if i > l { break; } }",
            "switch l { case 1u: { workgroupBarrier(); } default: {} }",
            "if l < 4u { rw[l] = subgroupBroadcast(l, 0u); }",
            "if l > 3u { return; } rw[l] = quadSwapX(l);",
            "for (var i = 0u; i < l; i++) { rw[l] = subgroupAdd(i); }",
        ] {
            assert!(verdict("", body).is_err(), "{body}");
        }
        assert!(verdict("fn f() { workgroupBarrier(); }", "if l > 1u { f(); }").is_err());
        assert!(
            verdict("fn f(a: u32) -> u32 { return a; }", "if f(l) > 1u { workgroupBarrier(); }").is_err()
        );
        assert!(
            verdict(
                "fn f(a: ptr<function, u32>) { *a = rw[1]; }",
                "var a = 0u; f(&a); if a > 1u { workgroupBarrier(); }"
            )
            .is_err()
        );
    }
}
