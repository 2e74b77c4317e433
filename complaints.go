package paywall

import (
	"sync"
	"time"

	"go.uber.org/zap"
)

// complainEvery is how often the same message is written at most.
const complainEvery = time.Minute

// complaints writes what could be written for every request once a minute, each message apart, so that none hides
// another.
type complaints struct {
	mu      sync.Mutex
	written map[string]time.Time // by message
}

// complain writes the error, unless the same message was written within the minute.
// The message is a constant: each is remembered.
func (c *complaints) complain(logger *zap.Logger, message string, fields ...zap.Field) {
	if c.isDue(message) {
		logger.Error(message, fields...)
	}
}

func (c *complaints) isDue(message string) bool {
	at := now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if last, ok := c.written[message]; ok && at.Sub(last) < complainEvery {
		return false
	}
	if c.written == nil {
		c.written = make(map[string]time.Time)
	}
	c.written[message] = at
	return true
}
