package prepared

import "testing"

func TestUnnamed(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4)":      "INSERT INTO t (a, b) VALUES (?, ?), (?, ?)",
		"UPDATE t SET a = $1 WHERE b = $2 AND c = $3+$4":      "UPDATE t SET a = ? WHERE b = ? AND c = ?+?",
		"SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11": "SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?",
		"SELECT 1":               "SELECT 1",
		"SELECT $2, $1":          "SELECT $2, $1",
		"SELECT $1, $1":          "SELECT $1, $1",
		"SELECT $10":             "SELECT $10",
		"SELECT $1, '$2'":        "SELECT $1, '$2'",
		"SELECT $1 -- $2":        "SELECT $1 -- $2",
		"SELECT $1 /* $2 */":     "SELECT $1 /* $2 */",
		`SELECT "a$1"`:           `SELECT "a$1"`,
		"SELECT $1 WHERE a = ?2": "SELECT $1 WHERE a = ?2",
		"INSERT INTO t VALUES ($1) ON CONFLICT (a) DO UPDATE SET b = '-'": "INSERT INTO t VALUES (?) ON CONFLICT (a) DO UPDATE SET b = '-'",
		"SELECT $name": "SELECT $name",
	} {
		if got := unnamed(query); got != want {
			t.Errorf("%s\nbecomes %s\nwant    %s", query, got, want)
		}
	}
}
