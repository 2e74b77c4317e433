package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/caddy-axra/paywall/internal/admin"
	"github.com/caddy-axra/paywall/token"
)

func keysCommand() *cobra.Command {
	list := &cobra.Command{
		Use:   "list",
		Short: "Lists the signing keys, without their secrets",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd, admin.ListKeys, admin.None{}, printKeys)
		},
	}
	rotate := &cobra.Command{
		Use:   "rotate",
		Short: "Adds a key that takes over in three minutes; nobody is logged out",
		Long: `
Adds a key, which signs after three minutes, when every node has read it. Old keys still verify what they
have signed, so nobody is logged out.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd, admin.RotateKeys, admin.None{}, printKeys)
		},
	}
	remove := &cobra.Command{
		Use:   "remove <key> --yes",
		Short: "Removes a leaked key and voids what it has signed",
		Long: `
Removes a key that has leaked. All that it has signed is void at once on this node, and within a second or two on
others: visitors with its cookies have to be let in anew. To change keys without that, rotate.`,
		Args: cobra.ExactArgs(1),
	}
	sure := remove.Flags().Bool("yes", false, "Log out everybody whose cookies the key has signed")
	remove.RunE = func(cmd *cobra.Command, args []string) error {
		if !*sure {
			return errors.New("everybody whose cookies this key has signed would be logged out: add --yes if it has leaked, or rotate")
		}
		return run(cmd, admin.RemoveKey, admin.RemoveKeyRequest{ID: args[0]}, printKeys)
	}
	return group(&cobra.Command{Use: "keys", Short: "Lists, rotates and removes signing keys"}, list, rotate, remove)
}

func printKeys(p printer, keys []token.KeyInfo) {
	rows := [][]string{{"KEY", "ALGORITHM", "CREATED (UTC)", "SIGNS FROM (UTC)", "SIGNS NOW", "KEPT UNTIL (UTC)"}}
	for _, key := range keys {
		signs, kept := "", ""
		switch {
		case key.SignsAccess && key.SignsOther:
			signs = "access tokens, all else"
		case key.SignsAccess:
			signs = "access tokens"
		case key.SignsOther:
			signs = "all else"
		}
		if !key.KeepUntil.IsZero() {
			kept = inUTC(&key.KeepUntil)
		}
		rows = append(rows, []string{key.ID, key.Algorithm, inUTC(&key.Created), inUTC(&key.SignsFrom), signs, kept})
	}
	p.table(rows)
}
