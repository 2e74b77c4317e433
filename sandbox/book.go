package sandbox

import (
	"fmt"
	"iter"
	"slices"
)

// book keeps the newest records by id. What it forgets, it hands back.
type book[T any] struct {
	limit int
	order []string
	byID  map[string]T
}

func newBook[T any](limit int) *book[T] {
	return &book[T]{limit: limit, byID: map[string]T{}}
}

// add stores a record under a new id and returns the one that had to make room.
func (b *book[T]) add(id string, record T) (evicted T, full bool) {
	b.order = append(b.order, id)
	b.byID[id] = record
	if len(b.order) <= b.limit {
		return evicted, false
	}
	oldest := b.order[0]
	b.order = b.order[1:]
	evicted = b.byID[oldest]
	delete(b.byID, oldest)
	return evicted, true
}

func (b *book[T]) find(kind, id string) (T, error) {
	record, ok := b.byID[id]
	if !ok {
		return record, fmt.Errorf("%s %q: %w", kind, id, ErrNotFound)
	}
	return record, nil
}

func (b *book[T]) len() int { return len(b.order) }

// all yields the records from the oldest to the newest.
func (b *book[T]) all() iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, id := range b.order {
			if !yield(b.byID[id]) {
				return
			}
		}
	}
}

// newest returns at most n records, the newest first.
func (b *book[T]) newest(n int) []T {
	out := make([]T, 0, min(n, len(b.order)))
	for _, id := range slices.Backward(b.order) {
		if len(out) == n {
			break
		}
		out = append(out, b.byID[id])
	}
	return out
}
