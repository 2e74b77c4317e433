package paywall

import (
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

// complaints writes what could be written for every request once a minute, each
// message apart, so that none hides another.
type complaints struct{ messages sync.Map } // message → *rate.Sometimes

// complain writes the error, unless the same message was written within the minute.
// The message is a constant: each is remembered.
func (c *complaints) complain(logger *zap.Logger, message string, fields ...zap.Field) {
	once, ok := c.messages.Load(message)
	if !ok {
		once, _ = c.messages.LoadOrStore(message, &rate.Sometimes{First: 1, Interval: time.Minute})
	}
	if once, ok := once.(*rate.Sometimes); ok {
		once.Do(func() { logger.Error(message, fields...) })
	}
}
