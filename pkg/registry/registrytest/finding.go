package registrytest

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

// findingCases look for packages, files, blobs and events.
var findingCases = []testCase{
	{"names of several components", slashes},
	{"packages by what they have", filters},
	{"events by what they are about", eventFilters},
	{"pages of files", filePages},
	{"who has a blob", uses},
	{"questions that are refused", refusedQuestions},
}

func ref(producer, name, version string) registry.PackageRef {
	return registry.PackageRef{Producer: producer, Name: name, Version: version}
}

// published publishes a package of one file.
func (s suite) published(r registry.PackageRef, change func(*registry.OpenUpload)) registry.Publication {
	s.Helper()
	req := registry.OpenUpload{PackageRef: r, RetentionClass: "release"}
	if change != nil {
		change(&req)
	}
	return s.push(req, file{"a", r.String(), false})
}

func (s suite) listed(filter registry.PackageFilter) string {
	s.Helper()
	var names []string
	for {
		page, err := s.r.ListPackages(s.ctx, filter)
		s.must(err)
		for _, p := range page.Packages {
			names = append(names, p.PackageRef.String())
		}
		if filter.After = page.Next; page.Next == "" {
			return strings.Join(names, " ")
		}
	}
}

func slashes(s suite) {
	all := []registry.PackageRef{ref("k8s.io", "api", "1"), ref("team", "sub/app", "1"), ref("team", "sub/deeper/app", "1"), ref("team", "sub", "1")}
	for _, r := range all {
		s.published(r, nil)
	}
	for _, r := range all {
		found, err := s.r.GetPackage(s.ctx, r)
		s.must(err)
		equal(s, "package", found.PackageRef, r)
		_, err = s.r.FindFile(s.ctx, r, "a")
		s.must(err)
		equal(s, "versions", s.listed(registry.PackageFilter{Producer: r.Producer, Name: r.Name}), r.String())
		parsed, err := registry.ParsePackageRef(r.String())
		s.must(err)
		equal(s, "parsed", parsed, r)
	}
	for pattern, want := range map[string]string{
		"*": "team/sub/app@1 team/sub/deeper/app@1 team/sub@1", "sub/*": "team/sub/app@1", "sub/**": "team/sub/app@1 team/sub/deeper/app@1",
		"**/app": "team/sub/app@1 team/sub/deeper/app@1", "SUB/*": "", "s_b/*": "",
	} {
		got := strings.Fields(s.listed(registry.PackageFilter{Producer: "team", NameGlob: pattern, Limit: 1}))
		slices.Sort(got)
		equal(s, pattern, strings.Join(got, " "), want)
	}
	for _, name := range []string{"/a", "a/", "a//b", "a/../b", "a/.b", "a/" + strings.Repeat("b", 128) + "/" + strings.Repeat("c", 128), "a/" + strings.Repeat("b", 129)} {
		_, err := s.r.OpenUpload(s.ctx, registry.OpenUpload{PackageRef: ref("p", name, "1"), RetentionClass: "r"})
		s.invalid(err, "name")
	}
	s.published(ref("p", strings.Repeat("b", 100)+"/"+strings.Repeat("c", 99), "1"), nil)
}

func filters(s suite) {
	plain := s.published(ref("ci", "a", "1"), nil)
	s.published(ref("ci", "b", "1"), func(o *registry.OpenUpload) {
		o.Annotations = map[string]string{"commit": "abc", "odd": `100%_"x"\`}
		o.Tier = registry.TierCold
	})
	s.published(ref("other", "c", "1"), func(o *registry.OpenUpload) { o.Annotations = map[string]string{"commit": "abcd"} })
	described, err := s.r.GetPackage(s.ctx, plain.PackageRef)
	s.must(err)
	for i, c := range []struct {
		filter registry.PackageFilter
		want   string
	}{
		{registry.PackageFilter{Annotations: map[string]string{"commit": "abc"}}, "ci/b@1"},
		{registry.PackageFilter{Annotations: map[string]string{"commit": "ABC"}}, ""},
		{registry.PackageFilter{Annotations: map[string]string{"commit": "a%"}}, ""},
		{registry.PackageFilter{Annotations: map[string]string{"odd": `100%_"x"\`}}, "ci/b@1"},
		{registry.PackageFilter{Annotations: map[string]string{"commit": "abc", "odd": "x"}}, ""},
		{registry.PackageFilter{Tier: registry.TierCold}, "ci/b@1"},
		{registry.PackageFilter{Actor: described.Actor, Producer: "ci"}, "ci/a@1 ci/b@1"},
		{registry.PackageFilter{Actor: "nobody else"}, ""},
		{registry.PackageFilter{Since: described.Published, Producer: "ci", Name: "a"}, "ci/a@1"},
		{registry.PackageFilter{Until: described.Published}, ""},
		{registry.PackageFilter{Since: described.Published.Add(time.Hour)}, ""},
		{registry.PackageFilter{NameGlob: "?", Limit: 1}, "ci/a@1 ci/b@1 other/c@1"},
		{registry.PackageFilter{NameGlob: "b", Scan: 1}, "ci/b@1"},
	} {
		equal(s, fmt.Sprint(i), s.listed(c.filter), c.want)
	}
}

func eventFilters(s suite) {
	s.published(ref("ci", "a", "1"), nil)
	s.published(ref("ci", "a", "2"), nil)
	s.published(ref("ci", "a/b", "1"), nil)
	last := s.published(ref("other", "a", "1"), nil)
	const kind = "v1.package.published"
	subjects := func(filter registry.EventFilter) string {
		s.Helper()
		var all []string
		for query := (registry.EventQuery{EventFilter: filter, Limit: 1}); ; {
			page, err := s.r.ReadEvents(s.ctx, query)
			s.must(err)
			for _, e := range page.Events {
				all = append(all, e.Subject)
			}
			if page.Position >= page.Head {
				equal(s, "head", page.Position, last.Position)
				return strings.Join(all, " ")
			}
			if page.Position == query.After {
				s.Fatalf("no progress after %d of %d", page.Position, page.Head)
			}
			query.After = page.Position
		}
	}
	for i, c := range []struct {
		filter registry.EventFilter
		want   string
	}{
		{registry.EventFilter{Kinds: []string{kind}}, "ci/a@1 ci/a@2 ci/a/b@1 other/a@1"},
		{registry.EventFilter{Kinds: []string{"v1.package", "v1.nothing"}}, "ci/a@1 ci/a@2 ci/a/b@1 other/a@1"},
		{registry.EventFilter{Kinds: []string{"v1.pack"}}, ""},
		{registry.EventFilter{Producer: "ci"}, "ci/a@1 ci/a@2 ci/a/b@1"},
		{registry.EventFilter{Producer: "ci", Package: "a"}, "ci/a@1 ci/a@2"},
		{registry.EventFilter{Producer: "ci", Package: "a@2"}, "ci/a@2"},
		{registry.EventFilter{Producer: "c"}, ""},
		{registry.EventFilter{Actor: "nobody else"}, ""},
		{registry.EventFilter{Until: time.UnixMicro(1)}, ""},
	} {
		equal(s, fmt.Sprint(i), subjects(c.filter), c.want)
	}
	var told []string
	err := s.r.FollowEvents(s.ctx, registry.EventQuery{EventFilter: registry.EventFilter{Producer: "other"}}, func(e registry.Event) error {
		told = append(told, e.Subject)
		return errEnough
	})
	s.is(err, errEnough)
	equal(s, "told", strings.Join(told, " "), "other/a@1")
}

var errEnough = fmt.Errorf("enough was told")

func filePages(s suite) {
	files := []file{{"a", "a", true}, {"b/1", "1", false}, {"b/2", "1", false}, {"b/2.x", "x", false}, {"b_", "y", false}, {"d/x", "x", false}, {"e/x", "y", false}, {"D2/x", "x", false}}
	s.push(version("1"), files...)
	paths := func(query registry.FileQuery) string {
		s.Helper()
		var all []string
		for {
			page, err := s.r.ListFiles(s.ctx, version("1").PackageRef, query)
			s.must(err)
			for _, f := range page.Files {
				i := slices.IndexFunc(files, func(one file) bool { return one.path == f.Path })
				equal(s, f.Path, f, registry.FileInfo{Path: f.Path, Size: int64(len(files[i].content)), Digests: digest.Of([]byte(files[i].content)), Executable: files[i].executable})
				all = append(all, f.Path)
			}
			if query.After = page.Next; page.Next == "" {
				slices.Sort(all)
				return strings.Join(all, " ")
			}
		}
	}
	equal(s, "all", paths(registry.FileQuery{}), "D2/x a b/1 b/2 b/2.x b_ d/x e/x")
	equal(s, "by two", paths(registry.FileQuery{Limit: 2}), "D2/x a b/1 b/2 b/2.x b_ d/x e/x")
	equal(s, "below", paths(registry.FileQuery{Below: "b", Limit: 1}), "b/1 b/2 b/2.x")
	equal(s, "one", paths(registry.FileQuery{Below: "b/2"}), "b/2")
	equal(s, "of another case", paths(registry.FileQuery{Below: "d2"}), "")
	equal(s, "none", paths(registry.FileQuery{Below: "c"}), "")
	_, err := s.r.ListFiles(s.ctx, version("2").PackageRef, registry.FileQuery{})
	s.is(err, registry.ErrNotFound)
}

func uses(s suite) {
	same := file{"b", "the same", false}
	first := s.push(version("1"), file{"a", "the same", false}, same)
	second := s.push(registry.OpenUpload{PackageRef: ref("other", "x/y", "1"), RetentionClass: "release"}, same)
	both := digest.Of([]byte("the same"))
	want := []registry.Use{{PackageRef: first.PackageRef, Position: first.Position, Path: "a"}, {PackageRef: first.PackageRef, Position: first.Position, Path: "b"}, {PackageRef: second.PackageRef, Position: second.Position, Path: "b"}}
	for _, name := range []digest.Digest{both.SHA256, both.BLAKE3} {
		for limit := range 4 {
			var got []registry.Use
			for query := (registry.UseQuery{Limit: limit}); ; {
				page, err := s.r.FindUses(s.ctx, name, query)
				s.must(err)
				equal(s, "blob", page.Digests, both)
				equal(s, "locations", len(page.Locations), 1)
				equal(s, "location", page.Locations[0].Backend+page.Locations[0].State, First+"live")
				got = append(got, page.Uses...)
				if query.After = page.Next; page.Next == "" {
					break
				}
			}
			equal(s, "uses", fmt.Sprint(got), fmt.Sprint(want))
		}
	}
	page, err := s.r.FindUses(s.ctx, both.SHA256, registry.UseQuery{Producer: "other"})
	s.must(err)
	equal(s, "of a producer", fmt.Sprint(page.Uses), fmt.Sprint(want[2:]))
	page, err = s.r.FindUses(s.ctx, first.ManifestDigest, registry.UseQuery{})
	s.must(err)
	equal(s, "manifest", fmt.Sprint(page.Uses), fmt.Sprint([]registry.Use{{PackageRef: first.PackageRef, Position: first.Position, Path: ""}}))
	encoded, err := s.r.GetManifest(s.ctx, second.ManifestDigest)
	s.must(err)
	kept := s.push(registry.OpenUpload{PackageRef: ref("a", "keep", "1"), RetentionClass: "release"}, file{"manifest", string(encoded), false})
	var names []string
	for query := (registry.UseQuery{Limit: 1}); ; {
		page, err := s.r.FindUses(s.ctx, second.ManifestDigest, query)
		s.must(err)
		for _, u := range page.Uses {
			names = append(names, u.PackageRef.String()+":"+u.Path)
		}
		if query.After = page.Next; page.Next == "" {
			break
		}
	}
	equal(s, "a manifest that is also a file", strings.Join(names, " "), kept.PackageRef.String()+":manifest "+second.PackageRef.String()+":")
	_, err = s.r.FindUses(s.ctx, both.SHA256, registry.UseQuery{Producer: "nobody", After: registry.UseCursor(registry.Use{PackageRef: ref("nobody", "x", "1"), Position: 1, Path: "a"})})
	s.is(err, registry.ErrNotFound)
	for _, query := range []registry.UseQuery{{}, {Producer: "nobody"}} {
		_, err = s.r.FindUses(s.ctx, digest.Of([]byte("nowhere")).SHA256, query)
		s.is(err, registry.ErrNotFound)
	}
	_, err = s.r.FindUses(s.ctx, both.SHA256, registry.UseQuery{Producer: "nobody"})
	s.is(err, registry.ErrNotFound)
}

func refusedQuestions(s suite) {
	now := time.Now()
	for field, filter := range map[string]registry.PackageFilter{
		"producer": {Producer: "a b"}, "name": {Name: "a//b"}, "nameGlob": {NameGlob: strings.Repeat("a", 201)}, "tier": {Tier: "warmish"},
		"until": {Since: now, Until: now}, "after": {After: "x"}, "actor": {Actor: "a\x00"}, "at": {At: math.MaxUint64},
		"annotation": {Annotations: map[string]string{"a": strings.Repeat("\x01", 9000)}},
	} {
		_, err := s.r.ListPackages(s.ctx, filter)
		s.invalid(err, field)
	}
	for field, filter := range map[string]registry.EventFilter{
		"kind": {Kinds: []string{"a b"}}, "producer": {Producer: "a b"}, "package": {Package: "a"}, "until": {Since: now, Until: now}, "actor": {Actor: "a\xff"},
	} {
		_, err := s.r.ReadEvents(s.ctx, registry.EventQuery{EventFilter: filter})
		s.invalid(err, field)
	}
	_, err := s.r.ReadEvents(s.ctx, registry.EventQuery{EventFilter: registry.EventFilter{Producer: "a", Package: "b@"}})
	s.invalid(err, "package")
	last := s.push(version("1"), file{"a", "a", false})
	_, err = s.r.ListPackages(s.ctx, registry.PackageFilter{At: last.Position + 1})
	s.invalid(err, "at")
	_, err = s.r.ListTags(s.ctx, registry.TagQuery{Producer: last.Producer, Name: last.Name, At: last.Position + 1})
	s.invalid(err, "at")
	_, err = s.r.GetTag(s.ctx, registry.TagRef{Producer: last.Producer, Name: last.Name, Tag: "stable"}, last.Position+1)
	s.invalid(err, "at")
	_, err = s.r.ListFiles(s.ctx, version("1").PackageRef, registry.FileQuery{Below: "../a"})
	s.invalid(err, "below")
	_, err = s.r.ListFiles(s.ctx, version("1").PackageRef, registry.FileQuery{After: "?"})
	s.invalid(err, "after")
	_, err = s.r.FindUses(s.ctx, digest.Digest{}, registry.UseQuery{})
	s.invalid(err, "digest")
	_, err = s.r.FindUses(s.ctx, digest.Of([]byte("a")).SHA256, registry.UseQuery{After: "?"})
	s.invalid(err, "after")
	_, err = s.r.FindUses(s.ctx, digest.Of([]byte("a")).SHA256, registry.UseQuery{Limit: 1001})
	s.invalid(err, "limit")
}
