package node

import "log/slog"

// SlogHandler is what the ledger of a node logs to.
func SlogHandler(n *Node) slog.Handler { return slogHandler{n} }
