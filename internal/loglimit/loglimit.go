// Package loglimit limits log messages that any request could cause: each is logged at most once a minute.
package loglimit

import (
	"sync"
	"time"

	"go.uber.org/zap"
)

const interval = time.Minute

// Limiter allows each message once a minute, independently of others. It is safe for concurrent use.
type Limiter struct {
	now  func() time.Time
	mu   sync.Mutex
	last map[string]time.Time // by message
}

// New returns a limiter.
func New(now func() time.Time) *Limiter {
	return &Limiter{now: now, last: make(map[string]time.Time)}
}

// Error logs the message with its fields if it is due. The message must be a constant, since each one is remembered.
func (l *Limiter) Error(logger *zap.Logger, message string, fields ...zap.Field) {
	if l.IsDue(message) {
		logger.Error(message, fields...)
	}
}

// IsDue reports whether the message may be logged now, and counts it as logged.
func (l *Limiter) IsDue(message string) bool {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if last, known := l.last[message]; known && now.Sub(last) < interval {
		return false
	}
	l.last[message] = now
	return true
}
