// A group task from a Go backend (1.24 or newer), over livecard's gateway: the standard library only.
//
// Standard input is what the page posts to the backend: {"js_code", "encryptedData", "iv"}, from wx.login and
// wx.getChatToolInfo. Standard output is what the page gets, a line each.
package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

type object = map[string]any

var pauses = []int{1, 2, 4, 8, 16}

// request makes a GET, or a POST of a body.
func request(path string, body []byte, headers map[string]string) *http.Request {
	method := http.MethodGet
	if body != nil {
		method = http.MethodPost
	}
	made, err := http.NewRequest(method, os.Getenv("GATEWAY_URL")+path, bytes.NewReader(body))
	if err != nil {
		log.Fatal(err)
	}
	made.Header.Set("Authorization", "Bearer "+os.Getenv("GATEWAY_KEY"))
	made.Header.Set("Content-Type", "application/json")
	for name, value := range headers {
		made.Header.Set(name, value)
	}
	return made
}

// call sends a GET, or a POST of a body, and reads the answer into it. Every try has the same
// Idempotency-Key, so what was done is not done again. In production keep the key beside your own row
// before the first try, and a restart repeats nothing either.
func call(path string, body any, answer any) {
	var sent []byte
	if body != nil {
		sent, _ = json.Marshal(body)
	}
	client := http.Client{Timeout: 15 * time.Second}
	headers := map[string]string{"Idempotency-Key": rand.Text()}
	for tried := 0; ; tried++ {
		response, err := client.Do(request(path, sent, headers))
		if err == nil {
			var read []byte
			read, err = io.ReadAll(response.Body)
			response.Body.Close()
			if err == nil && response.StatusCode < 300 {
				if err = json.Unmarshal(read, answer); err != nil {
					log.Fatal(err)
				}
				return
			}
			// Of 503, and of 409 where it is under way; any other answer is final.
			seconds, final := strconv.Atoi(response.Header.Get("Retry-After"))
			if err == nil && (final != nil || tried == len(pauses)) {
				log.Fatalf("%d %s: %s", response.StatusCode, path, read)
			}
			if err == nil {
				time.Sleep(time.Duration(seconds) * time.Second)
				continue
			}
		}
		if tried == len(pauses) {
			log.Fatal(err)
		}
		time.Sleep(time.Duration(pauses[tried]) * time.Second)
	}
}

type change struct {
	Type string
	Data struct{ Members []string }
}

// follow yields the events of a stream. After a cut it goes on behind the last one.
func follow(path string) func(yield func(kind string, change change) bool) {
	return func(yield func(string, change) bool) {
		headers := map[string]string{}
		for ; ; time.Sleep(time.Second) {
			response, err := http.DefaultClient.Do(request(path, nil, headers))
			if err != nil {
				continue
			}
			if response.StatusCode != 200 && response.Header.Get("Retry-After") == "" {
				log.Fatalf("%d %s", response.StatusCode, path)
			}
			event := map[string]string{}
			lines := bufio.NewScanner(response.Body)
			lines.Buffer(nil, 1<<20)
			for lines.Scan() {
				name, value, _ := strings.Cut(lines.Text(), ": ")
				event[name] = value
				if lines.Text() == "" && event["data"] != "" {
					if event["id"] != "" {
						headers["Last-Event-ID"] = event["id"]
					}
					var data change
					if err := json.Unmarshal([]byte(event["data"]), &data); err != nil {
						log.Fatal(err)
					}
					if !yield(event["event"], data) {
						response.Body.Close()
						return
					}
					event = map[string]string{}
				}
			}
			response.Body.Close()
		}
	}
}

// show prints what the page gets.
func show(answer any) {
	line, _ := json.Marshal(answer)
	fmt.Println(string(line))
}

func main() {
	var page struct {
		JSCode        string `json:"js_code"`
		EncryptedData string `json:"encryptedData"`
		IV            string `json:"iv"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&page); err != nil {
		log.Fatal(err)
	}
	var session struct{ Session, OpenID string }
	var me struct {
		Room        object
		GroupOpenID string `json:"group_openid"`
	}
	var activity struct {
		ActivityID string `json:"activity_id"`
		ShareMenu  object `json:"share_menu"`
	}
	type member struct {
		GroupOpenID string `json:"group_openid"`
		Delivered   string
	}
	var done struct{ Members []member }
	var missing struct{ Notify object }
	// README begins
	// Who is it, and in which chat? The page sent what wx.login and wx.getChatToolInfo gave it.
	call("/v1/sessions", object{"appid": "wx1", "js_code": page.JSCode}, &session)
	sealed := object{"session": session.Session, "encryptedData": page.EncryptedData, "iv": page.IV}
	call("/v1/rooms/bind", sealed, &me)

	call("/v1/activities", object{
		"appid": "wx1", "template": "complete", "title": "团建报名统计",
		"room": me.Room, "publisher": me.GroupOpenID,
		"participants": []string{me.GroupOpenID, "gp-bob"}, // whom wx.selectGroupMembers gave the page
	}, &activity)
	show(activity.ShareMenu) // the page hands it to wx.updateShareMenu, and shares

	card := "/v1/activities/" + url.PathEscape(activity.ActivityID)
	for kind, change := range follow(card + "/events") {
		if kind == "snapshot" { // from here on no change is missed; one after a cut may show all
			call(card+"/members?state=done&limit=500", nil, &done)
			if slices.Contains(done.Members, member{me.GroupOpenID, "confirmed"}) {
				break
			}
			call(card+"/complete", object{"openids": []string{session.OpenID}}, new(object))
		} else if kind == "livecard.card.delivered" && slices.Contains(change.Data.Members, me.GroupOpenID) {
			break // WeChat confirmed it: the chat says so
		}
	}

	call(card+"/missing?entrance_path=/pages/task", nil, &missing)
	show(missing.Notify) // the page hands it to wx.notifyGroupMembers
	// README ends
}
