package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-axra/paywall/token"
)

// keysTimeout is how long requests wait for the keys just after a process has started.
const keysTimeout = 2 * time.Second

// EnsureKeys makes sure that a signing key of the algorithm exists. It retries until the context ends.
func (n *Node) EnsureKeys(ctx context.Context, algorithm string) {
	for {
		err := n.Keys.Ensure(ctx, n.Ledger, algorithm)
		if err == nil || ctx.Err() != nil {
			return
		}
		n.logLimited("the signing keys cannot be read or created", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

// KeysReady reports whether the signing keys are loaded. Just after the start it waits for them.
func (n *Node) KeysReady(ctx context.Context) bool {
	select {
	case <-n.Keys.Ready():
		return true
	default:
	}
	timer := time.NewTimer(keysTimeout - n.now().Sub(n.created))
	defer timer.Stop()
	select {
	case <-n.Keys.Ready():
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// Installation returns the id of the installation. It waits for the keys, as KeysReady does.
func (n *Node) Installation(ctx context.Context) (string, error) {
	if !n.KeysReady(ctx) {
		return "", errNoKeys
	}
	return n.Keys.Installation(), nil
}

var errNoKeys = errors.New("the signing keys are not loaded yet")

// Reload reads the keys and the change feed again after the ledger was replaced.
func (n *Node) Reload(ctx context.Context) error {
	return errors.Join(n.Keys.Refresh(ctx, n.Ledger), n.Access.Poll(ctx))
}

// refreshKeys reads the keys after a change in the change feed.
func (n *Node) refreshKeys(ctx context.Context) error {
	err := n.Keys.Refresh(ctx, n.Ledger)
	if errors.Is(err, token.ErrNoKeys) {
		return nil // EnsureKeys is about to create them
	}
	return err
}

// OperatorKeys are the signing keys for operators. They satisfy admin.Keys.
type OperatorKeys struct {
	Node      *Node
	Algorithm string
}

// Ready reports whether the keys are loaded.
func (k OperatorKeys) Ready(ctx context.Context) bool { return k.Node.KeysReady(ctx) }

// Installation returns the id of this installation.
func (k OperatorKeys) Installation() string { return k.Node.Keys.Installation() }

// List describes the keys, without their secrets.
func (k OperatorKeys) List() []token.KeyInfo { return k.Node.Keys.List(k.Algorithm) }

// Rotate adds a key, which takes over in a few minutes. Existing tokens stay valid.
func (k OperatorKeys) Rotate(ctx context.Context) (kid string, err error) {
	kid, err = k.Node.Keys.Rotate(ctx, k.Node.Ledger, k.Algorithm)
	if err != nil {
		return "", fmt.Errorf("rotating the signing keys: %w", err)
	}
	k.Node.logger.Load().Info("signing key added; it signs once every node has read it", zap.String("kid", kid))
	return kid, nil
}

// Remove removes a leaked key and invalidates the tokens that it signed. The error wraps token.ErrUnknownKey if there
// is no such key.
func (k OperatorKeys) Remove(ctx context.Context, kid string) error {
	replacement, err := k.Node.Keys.Remove(ctx, k.Node.Ledger, kid, k.Algorithm)
	if err != nil {
		return fmt.Errorf("removing a signing key: %w", err)
	}
	k.Node.logger.Load().Warn("signing key removed; the tokens that it signed are now invalid",
		zap.String("kid", kid), zap.String("replacement", replacement))
	return nil
}
