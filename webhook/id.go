package webhook

// ShortID makes an id fit for a log: enough to find it by, not enough to use.
func ShortID(id string) string {
	if len(id) <= 12 {
		return id
	}
	return id[:12] + "…"
}
