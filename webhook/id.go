package webhook

// ShortID shortens an id for a log: enough to find it by, not enough to use it.
func ShortID(id string) string {
	if len(id) <= 12 {
		return id
	}
	return id[:12] + "…"
}
