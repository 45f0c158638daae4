//! Futures put together: one that outlives its caller, one whose result nobody wants, the first of several, and one against another.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::host::Host;

/// A future that runs on by itself when whoever waits for it goes away, and can tell that this happened.
pub struct Detached<H: Host, T: 'static> {
    host: H,
    alone: Rc<Cell<bool>>,
    future: Option<Pin<Box<dyn Future<Output = T>>>>,
}

impl<H: Host, T> Detached<H, T> {
    /// `alone` becomes true when it is left.
    pub fn new(host: &H, alone: &Rc<Cell<bool>>, future: impl Future<Output = T> + 'static) -> Self {
        Self { host: host.clone(), alone: Rc::clone(alone), future: Some(Box::pin(future)) }
    }
}

impl<H: Host, T> Future for Detached<H, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let Some(future) = &mut self.future else { return Poll::Pending };
        let output = std::task::ready!(future.as_mut().poll(context));
        self.future = None;
        Poll::Ready(output)
    }
}

impl<H: Host, T> Drop for Detached<H, T> {
    fn drop(&mut self) {
        if let Some(future) = self.future.take() {
            self.alone.set(true);
            self.host.spawn(Box::pin(Unheard(future)));
        }
    }
}

/// A future whose result nobody wants.
pub struct Unheard<F>(pub F);

impl<F: Future + Unpin> Future for Unheard<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(context).map(drop)
    }
}

/// The first of several futures to end; it is taken out.
pub struct Arrival<'a, F>(pub &'a mut Vec<F>);

impl<F: Future + Unpin> Future for Arrival<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let mut at = 0;
        while let Some(future) = self.0.get_mut(at) {
            if let Poll::Ready(output) = Pin::new(future).poll(context) {
                drop(self.0.swap_remove(at));
                return Poll::Ready(output);
            }
            at += 1;
        }
        Poll::Pending
    }
}

/// What the first future ends with, or `None` where the second ends earlier.
pub struct Either<A, B>(A, B);

pub const fn either<A: Future + Unpin, B: Future + Unpin>(first: A, second: B) -> Either<A, B> {
    Either(first, second)
}

impl<A: Future + Unpin, B: Future + Unpin> Future for Either<A, B> {
    type Output = Option<A::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<A::Output>> {
        if let Poll::Ready(output) = Pin::new(&mut self.0).poll(context) {
            return Poll::Ready(Some(output));
        }
        Pin::new(&mut self.1).poll(context).map(|_| None)
    }
}
