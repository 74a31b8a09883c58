// The little of dcmjs that the tests call; the package has no types of its own.
declare module 'dcmjs' {
  export const data: {
    readonly DicomMessage: {
      readFile(bytes: ArrayBuffer): {
        readonly dict: Readonly<Record<string, { readonly vr: string; readonly Value: readonly unknown[] }>>;
      };
    };
  };
  export const log: { getLogger(name: string): { setLevel(level: string): void } };
}
