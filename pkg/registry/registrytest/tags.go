package registrytest

import (
	"errors"
	"strconv"
	"strings"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
)

var tagCases = []testCase{
	{"tags", tags},
	{"tags and versions are one space", oneSpace},
	{"tags that never move", immutableTags},
	{"tags as they were", tagsAt},
	{"tags that are refused", badTags},
}

func tagRef(tag string) registry.TagRef {
	return registry.TagRef{Producer: "ci", Name: "tool", Tag: tag}
}

func (s suite) set(tag, version string) registry.Tag {
	s.Helper()
	set, err := s.r.SetTag(s.ctx, tagRef(tag), registry.TagSetting{Version: version})
	s.must(err)
	return set
}

// tagged is the tags of a page with their versions.
func tagged(page registry.TagPage) string {
	var all []string
	for _, t := range page.Tags {
		all = append(all, t.Tag+"="+t.Version)
	}
	return strings.Join(all, " ")
}

func tags(s suite) {
	one, two := s.push(version("1"), file{"a", "1", false}), s.push(version("2"), file{"a", "2", false})
	head := s.head()
	set := s.set("stable", "1")
	equal(s, "events", s.head(), head+1)
	equal(s, "position", set.Position, head+1)
	equal(s, "manifest", set.ManifestDigest, one.ManifestDigest)
	again := s.set("stable", "1")
	equal(s, "the same again", again, set)
	equal(s, "events", s.head(), head+1)
	s.set("Beta", "2")
	s.set("_1", "1")
	moved := s.set("stable", "2")
	got, err := s.r.GetTag(s.ctx, tagRef("stable"), 0)
	s.must(err)
	equal(s, "tag", got, moved)
	equal(s, "points to", got.ManifestDigest, two.ManifestDigest)
	page, err := s.r.ListTags(s.ctx, registry.TagQuery{Producer: "ci", Name: "tool"})
	s.must(err)
	equal(s, "tags", tagged(page), "Beta=2 _1=1 stable=2") // by their bytes
	var all []string
	for query := (registry.TagQuery{Producer: "ci", Name: "tool", Limit: 1}); ; {
		page, err := s.r.ListTags(s.ctx, query)
		s.must(err)
		all = append(all, tagged(page))
		if query.After = page.Next; page.Next == "" {
			break
		}
	}
	equal(s, "by one", strings.Join(all, " "), "Beta=2 _1=1 stable=2")
	s.must(s.r.RemoveTag(s.ctx, tagRef("stable")))
	_, err = s.r.GetTag(s.ctx, tagRef("stable"), 0)
	s.is(err, registry.ErrNotFound)
	s.is(s.r.RemoveTag(s.ctx, tagRef("stable")), registry.ErrNotFound)
	s.set("stable", "1")
	var history []string
	for query := (registry.HistoryQuery{Limit: 3}); ; {
		page, err := s.r.ListTagHistory(s.ctx, tagRef("stable"), query)
		s.must(err)
		for _, t := range page.Tags {
			history = append(history, t.Version)
		}
		if page.Next == "" {
			break
		}
		query.Before, err = strconv.ParseUint(page.Next, 10, 64)
		s.must(err)
	}
	equal(s, "history", strings.Join(history, ","), "1,,2,1")
	for _, name := range []string{"other", "tool/sub"} {
		page, err := s.r.ListTags(s.ctx, registry.TagQuery{Producer: "ci", Name: name})
		s.must(err)
		equal(s, name, len(page.Tags), 0)
	}
	page, err = s.r.ListTagHistory(s.ctx, tagRef("never"), registry.HistoryQuery{})
	s.must(err)
	equal(s, "history of none", len(page.Tags), 0)
}

func oneSpace(s suite) {
	s.push(version("1"), file{"a", "1", false})
	s.push(version("2"), file{"a", "2", false})
	var conflict *registry.ConflictError
	if _, err := s.r.SetTag(s.ctx, tagRef("2"), registry.TagSetting{Version: "1"}); !errors.As(err, &conflict) || conflict.Field != "tag" {
		s.Fatalf("a tag with the name of a version: %v", err)
	}
	s.set("3", "1")
	head := s.head()
	_, err := s.publishAtOnce(version("3"), file{"a", "3", false})
	if !errors.As(err, &conflict) || conflict.Field != "version" {
		s.Fatalf("a version with the name of a tag: %v", err)
	}
	upload := s.open(version("3"))
	s.fill(upload.ID, []file{{"a", "3", false}})
	if _, err := s.r.Publish(s.ctx, upload.ID, nil); !errors.As(err, &conflict) || conflict.Field != "version" {
		s.Fatalf("a version with the name of a tag, in a session: %v", err)
	}
	equal(s, "events", s.head(), head)
	s.must(s.r.RemoveTag(s.ctx, tagRef("3")))
	_, err = s.r.Publish(s.ctx, upload.ID, nil)
	s.must(err)
	_, err = s.publishAtOnce(version(registry.Latest), file{"a", "4", false})
	s.invalid(err, "version")
	s.set(registry.Latest, "1")
}

func immutableTags(s suite) {
	s.push(version("1"), file{"a", "1", false})
	s.push(version("2"), file{"a", "2", false})
	s.set("v1", "1")
	for range 2 { // it may be made so later, and again
		set, err := s.r.SetTag(s.ctx, tagRef("v1"), registry.TagSetting{Version: "1", Immutable: true})
		s.must(err)
		equal(s, "immutable", set.Immutable, true)
	}
	equal(s, "set again without", s.set("v1", "1").Immutable, true)
	var conflict *registry.ConflictError
	if _, err := s.r.SetTag(s.ctx, tagRef("v1"), registry.TagSetting{Version: "2"}); !errors.As(err, &conflict) || conflict.Field != "tag" {
		s.Fatalf("moving it: %v", err)
	}
	if err := s.r.RemoveTag(s.ctx, tagRef("v1")); !errors.As(err, &conflict) || conflict.Field != "tag" {
		s.Fatalf("removing it: %v", err)
	}
}

func tagsAt(s suite) {
	s.push(version("1"), file{"a", "1", false})
	before := s.head()
	first := s.set("a", "1")
	s.push(version("2"), file{"a", "2", false})
	second := s.set("a", "2")
	s.set("b", "2")
	s.must(s.r.RemoveTag(s.ctx, tagRef("a")))
	removed := s.head()
	for at, want := range map[uint64]string{0: "b=2", before: "", first.Position: "a=1", second.Position - 1: "a=1", second.Position: "a=2", second.Position + 1: "a=2 b=2", removed: "b=2"} {
		page, err := s.r.ListTags(s.ctx, registry.TagQuery{Producer: "ci", Name: "tool", At: at})
		s.must(err)
		equal(s, strconv.FormatUint(at, 10), tagged(page), want)
		got, err := s.r.GetTag(s.ctx, tagRef("a"), at)
		if _, is := strings.CutPrefix(want, "a="); !is {
			s.is(err, registry.ErrNotFound)
			continue
		}
		s.must(err)
		equal(s, "a", "a="+got.Version, want[:3])
	}
	page, err := s.r.ListPackages(s.ctx, registry.PackageFilter{Producer: "ci", At: first.Position})
	s.must(err)
	equal(s, "packages then", len(page.Packages), 1)
}

func badTags(s suite) {
	one := s.push(version("1"), file{"a", "1", false})
	for _, tag := range []string{"", "-a", ".a", "a b", "a/b", "a+b", "a:b", strings.Repeat("a", 129)} {
		_, err := s.r.SetTag(s.ctx, tagRef(tag), registry.TagSetting{Version: "1"})
		s.invalid(err, "tag")
		s.invalid(s.r.RemoveTag(s.ctx, tagRef(tag)), "tag")
		_, err = s.r.GetTag(s.ctx, tagRef(tag), 0)
		s.invalid(err, "tag")
	}
	_, err := s.r.SetTag(s.ctx, tagRef("a"), registry.TagSetting{})
	s.invalid(err, "version")
	_, err = s.r.SetTag(s.ctx, tagRef("a"), registry.TagSetting{Version: "2"})
	s.is(err, registry.ErrNotFound)
	var conflict *registry.ConflictError
	if _, err = s.r.SetTag(s.ctx, tagRef("a"), registry.TagSetting{Version: "1", Manifest: digest.Of([]byte("other")).SHA256}); !errors.As(err, &conflict) || conflict.Existing != one.ManifestDigest {
		s.Fatalf("another manifest: %v", err)
	}
	_, err = s.r.SetTag(s.ctx, registry.TagRef{Producer: "a b", Name: "tool", Tag: "a"}, registry.TagSetting{Version: "1"})
	s.invalid(err, "producer")
	_, err = s.r.SetTag(s.ctx, registry.TagRef{Producer: "ci", Name: "a//b", Tag: "a"}, registry.TagSetting{Version: "1"})
	s.invalid(err, "name")
	_, err = s.r.ListTags(s.ctx, registry.TagQuery{Producer: "ci", Name: "tool", After: "?"})
	s.invalid(err, "after")
	_, err = s.r.ListTags(s.ctx, registry.TagQuery{Producer: "ci", Name: "tool", Limit: 1001})
	s.invalid(err, "limit")
}
