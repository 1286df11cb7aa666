/* "Did you mean": the nearest of some names to a word. */
#include "base.h"

#include <string.h>

enum { LONGEST = 64 }; /* what follows in a longer word is not looked at */

static int lower(char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; }

/* Changes, insertions, deletions and swaps of neighbours between a and b, whatever their case. */
static int distance(const char *a, const char *b) {
  int d[LONGEST + 1][LONGEST + 1];
  int n = (int)strnlen(a, LONGEST), m = (int)strnlen(b, LONGEST);
  for (int i = 0; i <= n; i++)
    d[i][0] = i;
  for (int j = 0; j <= m; j++)
    d[0][j] = j;
  for (int i = 1; i <= n; i++)
    for (int j = 1; j <= m; j++) {
      int best = d[i - 1][j - 1] + (lower(a[i - 1]) != lower(b[j - 1]));
      if (d[i - 1][j] + 1 < best)
        best = d[i - 1][j] + 1;
      if (d[i][j - 1] + 1 < best)
        best = d[i][j - 1] + 1;
      bool swapped = i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                     lower(a[i - 2]) == lower(b[j - 1]);
      if (swapped && d[i - 2][j - 2] + 1 < best)
        best = d[i - 2][j - 2] + 1;
      d[i][j] = best;
    }
  return d[n][m];
}

const char *ml_nearest(const char *word, const char *const *names) {
  const char *nearest = NULL;
  int least = 0;
  for (; *names; names++) {
    int d = distance(word, *names);
    if (!nearest || d < least) {
      nearest = *names;
      least = d;
    }
  }
  int length = (int)strnlen(word, LONGEST);
  return least <= length / 2 ? nearest : NULL; /* at least half of the word is in it */
}
