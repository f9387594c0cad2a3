// A nominal type: values that are plain strings or numbers but must not be swapped for one another.

declare const brand: unique symbol;

export type Brand<T, Name extends string> = T & { readonly [brand]: Name };
