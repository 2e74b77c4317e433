package paywall

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-axra/paywall/token"
)

func keysCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "keys", Short: "Lists, rotates and removes signing keys"}
	group(cmd, listKeysCommand(), rotateKeysCommand(), removeKeyCommand())
	return cmd
}

func listKeysCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "Lists the signing keys, without their secrets",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var keys []token.KeyInfo
			if err := callAdminJSON(cmd, http.MethodGet, adminBase+"keys", nil, &keys); err != nil {
				return err
			}
			return printKeys(cmd, keys)
		},
	}
}

func rotateKeysCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rotate",
		Short: "Adds a key that takes over in three minutes; nobody is logged out",
		Long:  "Adds a key, which signs in three minutes' time, when every node has read it. Old keys go on verifying what they\nhave signed, so nobody is logged out.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var keys []token.KeyInfo
			if err := callAdminJSON(cmd, http.MethodPost, adminBase+"keys/rotate", nil, &keys); err != nil {
				return err
			}
			return printKeys(cmd, keys)
		},
	}
}

func removeKeyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove <key> --yes",
		Short: "Takes a leaked key away; what it has signed is void",
		Long: `
Takes away a key that has leaked. All that it has signed is void at once on this node, and within a second or two on
others: visitors with its cookies have to be let in anew. To change keys without that, rotate.`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().Bool("yes", false, "Log out everybody whose cookies the key has signed")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if sure, _ := cmd.Flags().GetBool("yes"); !sure {
			return errors.New("everybody whose cookies this key has signed would be logged out: add --yes if it has leaked, or rotate")
		}
		var keys []token.KeyInfo
		if err := postAdmin(cmd, "keys/remove", map[string]string{"kid": args[0]}, &keys); err != nil {
			return err
		}
		return printKeys(cmd, keys)
	}
	return cmd
}

func printKeys(cmd *cobra.Command, keys []token.KeyInfo) error {
	if wantsJSON(cmd) {
		return printJSON(cmd, keys)
	}
	out := table(cmd)
	fmt.Fprintln(out, "KEY\tALGORITHM\tCREATED (UTC)\tSIGNS FROM (UTC)\tSIGNS NOW\tKEPT UNTIL (UTC)")
	for _, key := range keys {
		created, signs := inUTC(&key.Created), inUTC(&key.SignsFrom)
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\n", clean(key.ID), key.Algorithm, created, signs, signsNow(key), keptUntil(key.KeepUntil))
	}
	return out.Flush()
}

func signsNow(key token.KeyInfo) string {
	var signs []string
	if key.SignsAccess {
		signs = append(signs, "access tokens")
	}
	if key.SignsOther {
		signs = append(signs, "all else")
	}
	return strings.Join(signs, ", ")
}

func keptUntil(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return inUTC(&at)
}
