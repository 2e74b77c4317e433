package node

import (
	"context"
	"log/slog"

	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"
)

// logLimited logs an error, at most once a minute per message.
func (n *Node) logLimited(message string, err error) {
	n.limit.Error(n.logger.Load(), message, zap.Error(err))
}

// slogHandler writes the ledger's log lines to the logger of the running configuration.
type slogHandler struct{ node *Node }

func (h slogHandler) current() slog.Handler {
	logger := h.node.logger.Load()
	return zapslog.NewHandler(logger.Core(), zapslog.WithName(logger.Name()), zapslog.AddStacktraceAt(slog.LevelError+1))
}

// Enabled implements slog.Handler.
func (h slogHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.current().Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h slogHandler) Handle(ctx context.Context, record slog.Record) error {
	return h.current().Handle(ctx, record)
}

// WithAttrs implements slog.Handler.
func (h slogHandler) WithAttrs(attrs []slog.Attr) slog.Handler { return h.current().WithAttrs(attrs) }

// WithGroup implements slog.Handler.
func (h slogHandler) WithGroup(name string) slog.Handler { return h.current().WithGroup(name) }
