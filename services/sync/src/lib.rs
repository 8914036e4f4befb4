//! Marathon apps into vulcand's keys, as the article's author did by hand
