package tokenfile

import "testing"

// FuzzParse: a file is refused, or each of its tokens has a holder of its own.
func FuzzParse(f *testing.F) {
	f.Add([]byte("tokens:\n- name: ci\n  sha256: " + sum(first) + "\n  allow:\n  - {resource: packages, verbs: [create, get], names: [team-a, \"team-b-*\"]}\n"))
	f.Add([]byte("tokens:\n- name: admin\n  token: " + second + "\n  allow:\n  - {resource: \"*\", verbs: [\"*\"]}\n"))
	f.Add([]byte("{\"tokens\": []}"))
	f.Add([]byte("a: &a [x]\nb: [*a, *a]\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		table, err := parse(content)
		if err != nil {
			return
		}
		if len(table.byHash) != len(table.byName) || len(table.byName) > maxTokens {
			t.Fatalf("%d tokens of %d holders", len(table.byHash), len(table.byName))
		}
		for name, holder := range table.byName {
			if !holderName.MatchString(name) || holder.name != name || table.byHash[holder.hash] != holder {
				t.Fatalf("holder %q is %+v", name, holder)
			}
		}
	})
}
