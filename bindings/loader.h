/* Finds and opens libmoonlab beside whoever asks. */
#ifndef MOONLAB_LOADER_H
#define MOONLAB_LOADER_H

/* The library's handle, or NULL with the reason in *why (static storage). */
void *moonlab_load(const char **why);

#endif
